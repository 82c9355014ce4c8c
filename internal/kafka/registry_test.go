package kafka_test

import (
	"encoding/binary"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/sr"
	"github.com/twmb/franz-go/pkg/sr/srfake"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/kafka"
	"agentassist-poller/internal/kafka/kafkaread"
	"agentassist-poller/internal/secret"
)

const topic = "agentassist.search"

func newRegistry(t *testing.T, url string, changes ...func(*kafka.RegistryConfig)) *kafka.Registry {
	t.Helper()
	c := kafka.DefaultRegistryConfig()
	c.URL = url
	c.RetryFor = 5 * time.Second
	for _, change := range changes {
		change(&c)
	}
	require.Empty(t, c.Validate())
	r, err := kafka.NewRegistry(c, quiet)
	require.NoError(t, err)
	return r
}

func lookupOnly(c *kafka.RegistryConfig) { c.Register = false }

func TestRegisterSchema(t *testing.T) {
	fake := srfake.New()
	defer fake.Close()
	r := newRegistry(t, fake.URL())
	id, err := r.Resolve(t.Context(), topic, events.Schema(events.TypeSearch))
	require.NoError(t, err)
	again, err := r.Resolve(t.Context(), topic, events.Schema(events.TypeSearch))
	require.NoError(t, err)
	require.Equal(t, id, again)
	subject, ok := fake.GetSchema("agentassist.search-value", 1)
	require.True(t, ok)
	require.Equal(t, id, subject.ID)

	client, err := sr.NewClient(sr.URLs(fake.URL()))
	require.NoError(t, err)
	require.Equal(t, sr.CompatFullTransitive, client.Compatibility(t.Context(), "agentassist.search-value")[0].Level)
}

// Some registries know no settings for a subject that is not there yet: the first version comes first then.
func TestCompatibilityOfNewSubject(t *testing.T) {
	fake := srfake.New()
	defer fake.Close()
	var order []string
	fake.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		order = append(order, r.Method+" "+strings.Split(r.URL.Path, "/")[1])
		if r.Method == http.MethodPut && !fake.SubjectExists("agentassist.search-value") {
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, `{"error_code":40401,"message":"Subject not found"}`)
			return true
		}
		return false
	})
	_, err := newRegistry(t, fake.URL()).Resolve(t.Context(), topic, events.Schema(events.TypeSearch))
	require.NoError(t, err)
	require.Equal(t, []string{"PUT config", "POST subjects", "PUT config"}, order)
}

func TestLookupOnly(t *testing.T) {
	fake := srfake.New()
	defer fake.Close()
	r := newRegistry(t, fake.URL(), lookupOnly)
	_, err := r.Resolve(t.Context(), topic, events.Schema(events.TypeSearch))
	require.ErrorContains(t, err, "subject agentassist.search-value")
	require.ErrorContains(t, err, "register the schema of this version, or set schema_registry.register: true")
	require.False(t, fake.SubjectExists("agentassist.search-value"))

	id, _, err := fake.RegisterSchema("agentassist.search-value", sr.Schema{Schema: events.Schema(events.TypeSearch)})
	require.NoError(t, err)
	found, err := r.Resolve(t.Context(), topic, events.Schema(events.TypeSearch))
	require.NoError(t, err)
	require.Equal(t, id, found)
}

func TestRegistryIsAskedAgain(t *testing.T) {
	for name, status := range map[string]int{"overloaded": 503, "broken": 500, "too many": 429, "gateway": 502} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fake := srfake.New()
			defer fake.Close()
			var failures atomic.Int32
			fake.Intercept(func(w http.ResponseWriter, _ *http.Request) bool {
				if failures.Add(1) <= 2 {
					w.WriteHeader(status)
					return true
				}
				return false
			})
			_, err := newRegistry(t, fake.URL()).Resolve(t.Context(), topic, events.Schema(events.TypeSearch))
			require.NoError(t, err)
		})
	}
}

func TestRegistryRefuses(t *testing.T) {
	for name, tt := range map[string]struct {
		method string
		status int
		change func(*kafka.RegistryConfig)
		want   string
		retry  bool
	}{
		"incompatible":      {"POST", 409, nil, "not compatible with: use another kafka.topic_prefix", false},
		"invalid":           {"POST", 422, nil, "the registry refuses the schema", false},
		"unknown user":      {"POST", 401, nil, "check schema_registry.username and password", false},
		"wrong path":        {"POST", 404, nil, "Apicurio's is /apis/ccompat/v7", false},
		"not to be set":     {"PUT", 403, nil, "or set schema_registry.compatibility: keep", false},
		"cannot be set":     {"PUT", 405, nil, "set schema_registry.compatibility: keep and set it on the subject by hand", false},
		"never comes back":  {"POST", 503, func(c *kafka.RegistryConfig) { c.RetryFor = 0 }, "check schema_registry.url", true},
		"nobody may set it": {"PUT", 403, func(c *kafka.RegistryConfig) { c.Compatibility = "keep" }, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			fake := srfake.New()
			defer fake.Close()
			fake.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method != tt.method {
					return false
				}
				w.WriteHeader(tt.status)
				_, _ = io.WriteString(w, `{"error_code":1,"message":"what the registry says"}`)
				return true
			})
			changes := []func(*kafka.RegistryConfig){}
			if tt.change != nil {
				changes = append(changes, tt.change)
			}
			_, err := newRegistry(t, fake.URL(), changes...).Resolve(t.Context(), topic, events.Schema(events.TypeSearch))
			if tt.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, tt.want)
			require.ErrorContains(t, err, "what the registry says")
			problem := &kafka.RegistryError{}
			require.ErrorAs(t, err, &problem)
			require.Equal(t, tt.retry, problem.Retryable())
		})
	}
}

func TestRegistryCredentials(t *testing.T) {
	for name, change := range map[string]func(*kafka.RegistryConfig){
		"Basic dTpw": func(c *kafka.RegistryConfig) { c.Username, c.Password = "u", secret.New("p") },
		"Bearer tok": func(c *kafka.RegistryConfig) { c.BearerToken = secret.New("tok") },
	} {
		t.Run(name, func(t *testing.T) {
			fake := srfake.New(srfake.WithAuth(name))
			defer fake.Close()
			_, err := newRegistry(t, fake.URL(), change).Resolve(t.Context(), topic, events.Schema(events.TypeSearch))
			require.NoError(t, err)
			_, err = newRegistry(t, fake.URL()).Resolve(t.Context(), topic, events.Schema(events.TypeSearch))
			require.ErrorContains(t, err, "check schema_registry.username and password, or bearer_token")
		})
	}
}

// Once the ids are known, events go on without a registry.
func TestRegistryGoneAtRunTime(t *testing.T) {
	fake := srfake.New()
	cluster := newCluster(t)
	c := configFor(cluster)
	rc := kafka.DefaultRegistryConfig()
	rc.URL = fake.URL()
	p, err := kafka.Open(t.Context(), kafka.Options{Config: c, Registry: rc, Types: types, Log: quiet})
	require.NoError(t, err)
	defer p.Close(t.Context())
	registered, ok := fake.GetSchema("agentassist.search-value", 1)
	require.True(t, ok)

	client, err := sr.NewClient(sr.URLs(fake.URL()))
	require.NoError(t, err)
	decoder := kafkaread.NewDecoder(client)
	feed := newFeed()
	require.NoError(t, p.AtLeastOnce.Deliver(t.Context(), &kafka.Batch{Events: searches(3), Feeds: []kafka.Feed{feed}}))
	f := &fixture{reader: readerOf(c, decoder)}
	require.Len(t, f.read(t, p.Topics.Event(events.TypeSearch)), 3)
	require.Len(t, f.read(t, p.Topics.Watermark()), 1)

	fake.Close()
	require.NoError(t, p.AtLeastOnce.Deliver(t.Context(), &kafka.Batch{Events: searches(5)[3:]}))
	records := f.read(t, p.Topics.Event(events.TypeSearch))
	require.Len(t, records, 5)
	for _, r := range records {
		require.Equal(t, binary.BigEndian.AppendUint32([]byte{0}, uint32(registered.ID)), r.Raw[:5])
	}
}

// Two instances start at the same time: some registries answer the slower one with a conflict.
func TestRegisteredByAnother(t *testing.T) {
	fake := srfake.New()
	defer fake.Close()
	fake.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		switch {
		case r.Method == http.MethodPut:
			w.WriteHeader(http.StatusConflict)
			_, _ = w.Write([]byte(`{"error_code": 40901, "message": "already exists"}`))
		case r.Method == http.MethodGet && strings.HasPrefix(r.URL.Path, "/config/"):
			_, _ = w.Write([]byte(`{"compatibilityLevel": "FULL_TRANSITIVE"}`))
		case strings.HasSuffix(r.URL.Path, "/versions"):
			w.WriteHeader(http.StatusConflict)
			_, _ = w.Write([]byte(`{"error_code": 409, "message": "already exists"}`))
		case r.Method == http.MethodPost: // the lookup
			_, _ = w.Write([]byte(`{"subject": "x", "version": 1, "id": 7, "schema": "\"string\""}`))
		default:
			return false
		}
		return true
	})
	c := configFor(newCluster(t))
	rc := kafka.DefaultRegistryConfig()
	rc.URL = fake.URL()
	p, err := kafka.Open(t.Context(), kafka.Options{Config: c, Registry: rc, Types: types, Log: quiet})
	require.NoError(t, err)
	require.NoError(t, p.Close(t.Context()))
}
