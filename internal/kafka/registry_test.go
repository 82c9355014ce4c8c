package kafka_test

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
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
	require.Equal(t, []string{
		"POST subjects", "GET config", "PUT config", // looked up; not there yet, and no place for a setting
		"POST subjects", "GET config", "PUT config",
	}, order)
}

// What is registered already needs no write: a registry in read-only mode, or a user who may only read, is enough then. What is
// missing is named with the right or the setting that is in the way.
func TestRegistryWithoutWrites(t *testing.T) {
	const subject = "agentassist.search-value"
	schema := sr.Schema{Schema: events.Schema(events.TypeSearch)}
	for name, tt := range map[string]struct {
		prepare func(*srfake.Registry)
		refusal string
		change  func(*kafka.RegistryConfig)
		want    string // empty: it starts
	}{
		"read-only": {prepare: registered(sr.CompatFullTransitive), refusal: readOnly},
		"forbidden": {prepare: registered(sr.CompatFullTransitive), refusal: forbidden},
		"default is right": {
			prepare: func(fake *srfake.Registry) {
				registered(0)(fake)
				client, _ := sr.NewClient(sr.URLs(fake.URL()))
				client.SetCompatibility(t.Context(), sr.SetCompatibility{Level: sr.CompatFullTransitive})
			},
			refusal: forbidden,
		},
		"another compatibility": {
			registered(sr.CompatBackward), forbidden, nil,
			"set compatibility, which is BACKWARD: User is denied operation Write on Subject; let the poller's user write the compatibility of the subject, " +
				"or set it to FULL_TRANSITIVE by other means; schema_registry.compatibility: keep leaves it as it is",
		},
		"another compatibility, kept": {
			registered(sr.CompatBackward), readOnly, func(c *kafka.RegistryConfig) { c.Compatibility = "keep" }, "",
		},
		"schema missing, read-only": {
			func(fake *srfake.Registry) { require.NoError(t, fake.SetCompat(subject, sr.CompatFullTransitive)) }, readOnly, nil,
			"register the schema: Subject is in read-only mode; the schema of this version is not registered, and the registry or the subject is in " +
				"read-only mode: set the mode to READWRITE, or register it by other means (poller schemas --write DIR writes the files) " +
				"and set schema_registry.register: false",
		},
		"schema missing, forbidden": {
			func(fake *srfake.Registry) { require.NoError(t, fake.SetCompat(subject, sr.CompatFullTransitive)) }, forbidden, nil,
			"the schema of this version is not registered: let the poller's user write to the subject, or register it by other means",
		},
	} {
		t.Run(name, func(t *testing.T) {
			fake := srfake.New()
			defer fake.Close()
			tt.prepare(fake)
			fake.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method != http.MethodPut && !strings.HasSuffix(r.URL.Path, "/versions") {
					return false
				}
				status, body, _ := strings.Cut(tt.refusal, " ")
				code, err := strconv.Atoi(status)
				if err != nil {
					t.Error(err)
					code = http.StatusInternalServerError
				}
				w.WriteHeader(code)
				_, _ = io.WriteString(w, body)
				return true
			})
			var changes []func(*kafka.RegistryConfig)
			if tt.change != nil {
				changes = append(changes, tt.change)
			}
			id, err := newRegistry(t, fake.URL(), changes...).Resolve(t.Context(), topic, schema.Schema)
			if tt.want == "" {
				require.NoError(t, err)
				require.Positive(t, id)
				return
			}
			require.ErrorContains(t, err, tt.want)
			may, known := kafka.Retryable(err)
			require.True(t, known)
			require.False(t, may)
		})
	}
}

const (
	readOnly  = `422 {"error_code":42205,"message":"Subject is in read-only mode"}`
	forbidden = `403 {"error_code":40301,"message":"User is denied operation Write on Subject"}`
)

// registered returns what registers the schema of the tests, with a compatibility, or 0 for the registry's default.
func registered(level sr.CompatibilityLevel) func(*srfake.Registry) {
	return func(fake *srfake.Registry) {
		fake.SeedSchema("agentassist.search-value", 1, 7, sr.Schema{Schema: events.Schema(events.TypeSearch)})
		if level != 0 {
			_ = fake.SetCompat("agentassist.search-value", level)
		}
	}
}

// Credentials and certificates in files are read again for every request.
func TestRegistryFilesAreReplaced(t *testing.T) {
	dir := t.TempDir()
	c := kafka.DefaultRegistryConfig()
	c.RetryFor = 5 * time.Second
	c.PasswordFile, c.Username = filepath.Join(dir, "password"), "u"
	c.TLS.CAFile = filepath.Join(dir, "ca.pem")
	old, renewed := newPair(t, dir, "old"), newPair(t, dir, "renewed")
	var serving atomic.Pointer[tls.Certificate]
	password := "p1"
	fake := srfake.New()
	defer fake.Close()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, sent, _ := r.BasicAuth(); sent != password {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		fake.Handler().ServeHTTP(w, r)
	}))
	server.TLS = &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		return &tls.Config{Certificates: []tls.Certificate{*serving.Load()}}, nil
	}}
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	serving.Store(&old.pair)
	server.StartTLS()
	defer server.Close()
	c.URL = server.URL
	write := func(password, ca string) {
		require.NoError(t, os.WriteFile(c.PasswordFile, []byte(password), 0o600))
		content, err := os.ReadFile(ca)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(c.TLS.CAFile, content, 0o600))
	}
	write("p1", old.cert)
	r, err := kafka.NewRegistry(c, quiet)
	require.NoError(t, err)
	resolve := func() error {
		_, err := r.Resolve(t.Context(), topic, events.Schema(events.TypeSearch))
		return err
	}
	require.NoError(t, resolve())

	password = "p2"
	require.ErrorContains(t, resolve(), "check the content of "+c.PasswordFile+" (schema_registry.password_file), which has not changed since")
	write("p2", old.cert)
	require.NoError(t, resolve())

	serving.Store(&renewed.pair)
	server.CloseClientConnections()
	require.ErrorContains(t, resolve(), "give the certificate of the server's authority in schema_registry.tls.ca_file")
	write("p2", renewed.cert)
	require.NoError(t, resolve())
}

// A registry that has lost a schema, or has it under another id, is found out; one that does not answer is no loss.
func TestRegistryLosesASchema(t *testing.T) {
	fake := srfake.New()
	defer fake.Close()
	r := newRegistry(t, fake.URL())
	schema := events.Schema(events.TypeSearch)
	registered(sr.CompatFullTransitive)(fake)
	id, err := r.Resolve(t.Context(), topic, schema)
	require.NoError(t, err)
	require.NoError(t, r.Check(t.Context(), topic, schema, id))
	fake.Reset()
	err = r.Check(t.Context(), topic, schema, id)
	require.ErrorContains(t, err, "subject agentassist.search-value: the schema that events are written with, id 7, is gone; restore the registry")
	_, _, err = fake.RegisterSchema("agentassist.search-value", sr.Schema{Schema: schema})
	require.NoError(t, err)
	require.ErrorContains(t, r.Check(t.Context(), topic, schema, id), "id 7, has id 1 now")
	fake.Close()
	err = r.Check(t.Context(), topic, schema, id)
	require.Error(t, err)
	require.NotErrorAs(t, err, new(*kafka.RegistryError))
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

// While a start waits for a registry or a broker, it says from the first attempt on what it waits for.
func TestOpenSaysWhatItWaitsFor(t *testing.T) {
	fake := srfake.New()
	defer fake.Close()
	away := true
	fake.Intercept(func(w http.ResponseWriter, _ *http.Request) bool {
		if away {
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = io.WriteString(w, "not yet")
		}
		return away
	})
	rc := kafka.DefaultRegistryConfig()
	rc.URL = fake.URL()
	var mu sync.Mutex
	var heard []string
	var logged bytes.Buffer
	o := kafka.Options{Config: configFor(newCluster(t)), Registry: rc, Types: types, Log: slog.New(slog.NewTextHandler(&logged, nil)), Waiting: func(err error) {
		mu.Lock()
		defer mu.Unlock()
		heard = append(heard, err.Error())
		away = len(heard) < 3
	}}
	p, err := kafka.Open(t.Context(), o)
	require.NoError(t, err)
	require.NoError(t, p.Close(t.Context()))
	require.Len(t, heard, 3)
	require.Equal(t, 1, strings.Count(logged.String(), "schema registry does not answer"), "it is logged once in the first second")
	require.Contains(t, heard[0], "subject agentassist.search-value: not yet; check schema_registry.url and that the registry runs")

	heard = nil
	o.Config.Brokers = []string{"127.0.0.1:1"}
	_, err = kafka.Open(t.Context(), o)
	require.Error(t, err)
	require.NotEmpty(t, heard)
	require.Contains(t, heard[0], "reach Kafka at 127.0.0.1:1: unable to dial")
}

func TestRegistryRefuses(t *testing.T) {
	for name, tt := range map[string]struct {
		method string
		status int
		change func(*kafka.RegistryConfig)
		want   string
		retry  bool
	}{
		"incompatible":      {"REGISTER", 409, nil, "not compatible with: use another kafka.topic_prefix", false},
		"invalid":           {"REGISTER", 422, nil, "the registry refuses the schema", false},
		"unknown user":      {"POST", 401, nil, "check schema_registry.username and password", false},
		"wrong path":        {"REGISTER", 404, nil, "Apicurio's is /apis/ccompat/v7", false},
		"not to be set":     {"PUT", 403, nil, "schema_registry.compatibility: keep leaves it as it is", false},
		"cannot be set":     {"PUT", 405, nil, "or set it to FULL_TRANSITIVE by other means", false},
		"never comes back":  {"POST", 503, func(c *kafka.RegistryConfig) { c.RetryFor = 0 }, "check schema_registry.url", true},
		"nobody may set it": {"PUT", 403, func(c *kafka.RegistryConfig) { c.Compatibility = "keep" }, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			fake := srfake.New()
			defer fake.Close()
			fake.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
				registering := r.Method == "POST" && strings.HasSuffix(r.URL.Path, "/versions")
				if r.Method != tt.method && (tt.method != "REGISTER" || !registering) {
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
			require.ErrorContains(t, err, "check schema_registry.username and password, or bearer_token; check schema_registry.bearer_token, which is read at start only")
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

// What to do about a registry that cannot be reached is about the registry, not about brokers.
func TestHintOfARegistryThatIsAway(t *testing.T) {
	rc := kafka.DefaultRegistryConfig()
	rc.URL = "http://127.0.0.1:1"
	_, err := kafka.Open(t.Context(), kafka.Options{Config: configFor(newCluster(t)), Registry: rc, Types: types, Log: quiet})
	const hint = "check schema_registry.url and that the registry runs"
	require.Equal(t, hint, kafka.Hint(fmt.Errorf("resolve schemas: %w", err)))
	require.Equal(t, 1, strings.Count(err.Error(), hint), "%v", err)
	require.Equal(t, "schema registry", kafka.About(err))
}
