package app_test

import (
	"bytes"
	"cmp"
	"context"
	"flag"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"log/slog"
	"maps"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"agentassist-poller/internal/app"
	"agentassist-poller/internal/koresim"
	"agentassist-poller/internal/status"
)

var pictures = flag.String("pictures", "", "the directory in which to write the pictures of the status page")

// Pictures of the status page for the documents, of a poller that reads the simulated contact centre: a scope is missing, and somebody has
// changed a topic.
func TestPictures(t *testing.T) {
	if *pictures == "" {
		t.Skip("only with -pictures: make pictures")
	}
	into, err := filepath.Abs(*pictures)
	require.NoError(t, err)
	t.Chdir(t.TempDir())
	b := newBrowser(t)

	start := time.Now().Add(-2 * time.Hour).UTC().Truncate(time.Second)
	sim, err := koresim.New(koresim.Config{Start: start, Bots: 2, SegmentsPerDay: 3000, RequestsPerMinute: 120, Unscoped: []string{koresim.ScopeSmartAssist}})
	require.NoError(t, err)
	api := httptest.NewServer(sim)
	defer api.Close()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	require.NoError(t, err)
	defer cluster.Close()
	account := sim.Accounts()[0]
	cfg, _, err := app.Parse(app.LoadOptions{}, fmt.Appendf(nil, `
accounts:
  - {name: retail-us, base_url: %q, account_id: %q, auth: {client_id: %q, client_secret: %q}, requests_per_minute: 120, start: %s,
     bots: [{name: care, bot_id: %q}, {name: sales, bot_id: %q}]}
kafka: {brokers: ["kafka-0:9092"], topics: {partitions: 3, replication_factor: 1}}
checkpoint: {path: poller.db}
server: {listen: "127.0.0.1:0"}
`, api.URL, account.ID, account.ClientID, account.ClientSecret, start.Format(time.RFC3339), account.Bots[0].ID, account.Bots[1].ID))
	require.NoError(t, err)
	kafka := kgo.Dialer(func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, cluster.ListenAddrs()[0])
	})
	a, err := app.New(cfg, app.Options{Version: "0.1.0", Instance: "poller-0", Log: slog.New(slog.DiscardHandler), KafkaClient: []kgo.Opt{kafka}})
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	defer func() { stop(); require.NoError(t, <-ended) }()

	until := func(what func(status.Status) bool) {
		require.Eventually(t, func() bool { return what(a.Status()) }, 10*time.Minute, time.Second)
	}
	until(func(s status.Status) bool {
		return !slices.ContainsFunc(s.Accounts[0].Endpoints, func(e status.Endpoint) bool { return !e.State.Red() && e.CompleteUpTo == nil })
	})
	client, err := kgo.NewClient(kgo.SeedBrokers("kafka-0:9092"), kafka)
	require.NoError(t, err)
	defer client.Close()
	compact := "compact"
	_, err = kadm.NewClient(client).AlterTopicConfigs(ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "cleanup.policy", Value: &compact}}, "agentassist.search")
	require.NoError(t, err)
	until(func(s status.Status) bool { return len(s.Problems) > 0 })

	p := b.open("http://" + a.Addr() + "/")
	for name, look := range map[string]struct {
		width, height int
		scheme        string
	}{"status-light": {1200, 1000, "light"}, "status-dark": {1200, 1000, "dark"}, "status-phone": {400, 1200, "light"}} {
		p.do("Emulation.setEmulatedMedia", params{"features": []params{{"name": "prefers-color-scheme", "value": look.scheme}}})
		p.do("Emulation.setDeviceMetricsOverride", params{"width": look.width, "height": look.height, "deviceScaleFactor": 1, "mobile": false})
		p.loaded() // none that is about to be replaced
		var shot struct{ Data []byte }
		require.Empty(t, p.call(p.session, "Page.captureScreenshot", params{"format": "png"}, &shot))
		full, err := png.Decode(bytes.NewReader(shot.Data))
		require.NoError(t, err)
		var small bytes.Buffer
		require.NoError(t, (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&small, paletted(full)))
		require.Less(t, small.Len(), 200_000, name)
		require.NoError(t, os.WriteFile(filepath.Join(into, name+".png"), small.Bytes(), 0o644))
	}
}

// paletted returns a picture with its most frequent colours only, as many as a palette has.
func paletted(full image.Image) image.Image {
	counts := map[color.Color]int{}
	bounds := full.Bounds()
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			counts[full.At(x, y)]++
		}
	}
	colours := slices.SortedFunc(maps.Keys(counts), func(a, b color.Color) int { return cmp.Compare(counts[b], counts[a]) })
	out := image.NewPaletted(bounds, colours[:min(len(colours), 256)])
	draw.Draw(out, bounds, full, bounds.Min, draw.Src)
	return out
}
