package app

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/sr/srfake"

	"agentassist-poller/internal/kafka"
)

// A person plans, tries, applies and looks: each step says what it found and did.
func TestTopicsAreApplied(t *testing.T) {
	t.Parallel()
	cfg := lifecycleConfig(t, "exactly-once", newBroker(t), "")
	run := func(do func(Output) error) string {
		var out bytes.Buffer
		require.NoError(t, do(Output{Out: &out}))
		return out.String()
	}
	plan := func(o TopicsOptions) func(Output) error {
		return func(out Output) error { return TopicsPlan(t.Context(), cfg, out, o) }
	}
	apply := func(o TopicsOptions) func(Output) error {
		return func(out Output) error { return TopicsApply(t.Context(), cfg, out, o) }
	}
	text := run(plan(TopicsOptions{}))
	require.Contains(t, text, "create  agentassist.search  partitions=1 replicas=1 cleanup.policy=delete max.message.bytes=")
	require.Contains(t, text, "0 of 16 topics as configured\n16 topics to create or change: poller topics apply does it\n")
	require.Contains(t, run(apply(TopicsOptions{DryRun: true})), "nothing was changed (--dry-run)")
	require.Contains(t, run(plan(TopicsOptions{})), "0 of 16 topics as configured")
	require.Contains(t, run(apply(TopicsOptions{})), "done: 16 topics created or changed")
	require.Equal(t, "16 of 16 topics as configured\n", run(plan(TopicsOptions{})))
	require.Equal(t, "16 of 16 topics as configured\n", run(apply(TopicsOptions{})))

	cfg.Kafka.Topics.Retention *= 2
	require.Contains(t, run(plan(TopicsOptions{})), "change  agentassist.search  retention.ms=5184000000 (now 2592000000)\n")
	var plans []kafka.TopicPlan
	require.NoError(t, json.Unmarshal([]byte(run(plan(TopicsOptions{JSON: true}))), &plans))
	require.Equal(t, []kafka.TopicChange{{Setting: "retention.ms", Is: "2592000000", Want: "5184000000"}}, plans[0].Changes)
	text = run(func(out Output) error { return TopicsDescribe(t.Context(), cfg, out, TopicsOptions{}) })
	require.Contains(t, text, "agentassist.feedback-negative\n  A copy of negative feedback")
	require.Contains(t, text, "  now: 1 partition, records kept for 30 days, 1 replica each, batches of at most ")
	require.Contains(t, text, "; 1 setting not as configured (poller topics plan)")
}

// What the registry lacks is told, registered, and there.
func TestSchemasAreRegistered(t *testing.T) {
	t.Parallel()
	registry := srfake.New()
	defer registry.Close()
	cfg := lifecycleConfig(t, "exactly-once", "127.0.0.1:1", "")
	ask := func(do func(Output) error) (string, error) {
		var out bytes.Buffer
		err := do(Output{Out: &out})
		return out.String(), err
	}
	check := func(out Output) error { return SchemasCheck(t.Context(), cfg, out, SchemasOptions{}) }
	register := func(dry bool) func(Output) error {
		return func(out Output) error { return SchemasRegister(t.Context(), cfg, out, SchemasOptions{DryRun: dry}) }
	}
	_, err := ask(check)
	require.ErrorContains(t, err, "set schema_registry.url")
	require.Equal(t, ExitUsage, ExitCode(err))
	cfg.SchemaRegistry.URL, cfg.SchemaRegistry.Register = registry.URL(), false
	text, err := ask(check)
	require.ErrorContains(t, err, "check schemas at "+registry.URL()+": 14 failures")
	require.Contains(t, text, "to do: register the schema of this version, or set schema_registry.register: true")
	text, err = ask(register(true))
	require.NoError(t, err)
	require.Contains(t, text, "agentassist.search-value              not registered; a start registers it")
	require.False(t, registry.SubjectExists("agentassist.search-value"))
	text, err = ask(register(false))
	require.NoError(t, err)
	require.Contains(t, text, "registered with id")
	text, err = ask(check)
	require.NoError(t, err)
	require.Contains(t, text, "failed: 0")
}
