package e2e_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/kafka/kafkaread"
	"agentassist-poller/internal/kafka/kafkatest"
	"agentassist-poller/internal/koresim"
	"agentassist-poller/schemas"
)

// What Python and Node need is not there wherever Java is: make clients installs it, and sets these.
var (
	python = flag.String("python", "", "the Python to run docs/kpis.md and a consumer with; empty: none")
	node   = flag.String("node", "", "the directory of the Node modules to run a consumer with; empty: none")
)

// Consumers in other languages compute every figure of docs/kpis.md as it was in a simulated day, and read of every schema the fields that they
// choose.
func TestKafkaClients(t *testing.T) {
	t.Parallel()
	p := apache(t)
	now := time.Now().UTC().Truncate(time.Second)
	centre := serve(t, "day", koresim.Config{
		Seed: 15, Start: now.AddDate(0, 0, -5), End: now.AddDate(0, 0, -4), SegmentsPerDay: 300, EmailOpen: 6 * time.Hour,
	})
	entries, pending := centre.ledger(now)
	require.Zero(t, pending, "the day must be over")
	centre.InjectOnce(koresim.FaultBadRecord, events.Interactions) // for a dead letter
	s := newSetup(t, p, centre.yaml(quickSettings("1h")))
	c := s.follow(t)
	run := s.startInProcess(t)
	c.settle(t, centre)
	run.stop(t)
	records := c.read(t)
	var choices []choice
	for i, topic := range c.topics() {
		choices = append(choices, choose(t, topic, i%2))
	}

	here := strings.NewReplacer("localhost:9092", p.broker, "http://localhost:8081", p.registry, "agentassist.", s.prefix+".")
	var script flinkScript
	sql := queries(t, "sql")
	for statement := range strings.SplitSeq(sql[setupSection], ";\n") {
		script.add("", here.Replace(statement))
	}
	for title := range figures {
		script.add(title, sql[title])
	}
	var all []string
	for _, choice := range choices {
		script.add("", choice.flinkTable(p))
		all = append(all, choice.flinkQuery())
	}
	script.add("decode", strings.Join(all, "\nUNION ALL "))
	topic := c.names.Event(events.TypeFeedback)
	bound, closed := readUpTo(t, records, topic)
	script.add("", fmt.Sprintf("CREATE TEMPORARY TABLE closed WITH ('scan.bounded.mode' = 'specific-offsets', 'scan.bounded.specific-offsets' = '%s') LIKE feedback", bound))
	script.add("closed", "SELECT COUNT(*) FROM closed")
	sqlResults := script.run(t)
	for title, figure := range figures {
		t.Run("Flink/"+title, func(t *testing.T) { requireRows(t, figure(entries), sqlResults[title]) })
	}
	t.Run("Flink/up to the offsets of watermarks", func(t *testing.T) {
		requireRows(t, rows{fmt.Sprint(closed)}, sqlResults["closed"])
	})
	t.Run("Flink/schemas", func(t *testing.T) {
		for _, choice := range choices {
			var got rows
			for _, row := range sqlResults["decode"] {
				if cells, ok := strings.CutPrefix(row, choice.topic+"\t"); ok {
					got = append(got, fromFlink(cells))
				}
			}
			choice.require(t, records, got)
		}
	})
	var stdin strings.Builder
	for _, choice := range choices {
		fmt.Fprintf(&stdin, "%s\t%s\t%d\n", choice.topic, choice.schema(t), len(choice.of(records)))
	}
	decoded := func(t *testing.T, out string) {
		parts := results(out)
		require.Len(t, parts, len(choices))
		for i, choice := range choices {
			choice.require(t, records, parts[i])
		}
	}
	t.Run("Java/schemas", func(t *testing.T) {
		decoded(t, kafkatest.Java(t, "testdata/Decode.java", strings.NewReader(stdin.String()), p.broker, p.registry))
	})
	if *python != "" {
		t.Run("Python/schemas", func(t *testing.T) {
			decoded(t, execute(t, stdin.String(), *python, "testdata/decode.py", p.broker, p.registry))
		})
		blocks := queries(t, "python")
		titles := slices.Collect(maps.Keys(figures))
		script := here.Replace(blocks[setupSection])
		for _, title := range titles {
			script += blocks[title] + "print('--')\n"
		}
		parts := results(execute(t, script, *python, "-"))
		require.Len(t, parts, len(titles))
		for i, title := range titles {
			t.Run("Python/"+title, func(t *testing.T) { requireRows(t, figures[title](entries), parts[i]) })
		}
	}
	if *python != "" {
		checkConsumingPage(t, s, records)
	}
	if *node != "" {
		t.Run("Node/schemas", func(t *testing.T) {
			decoded(t, execute(t, stdin.String(), "node", "testdata/decode.cjs", *node, p.broker, p.registry))
		})
	}
}

// readUpTo returns where a reader of a topic must stop at the last watermarks, in Flink's words, and how many records come before.
func readUpTo(t *testing.T, records []kafkaread.Record, topic string) (bound string, n int) {
	t.Helper()
	offsets := map[string]int64{}
	for i := range records {
		if r := &records[i]; strings.HasSuffix(r.Topic, ".watermark") && r.Value != nil {
			for at, offset := range watermarkOf(r).offsets {
				offsets[at] = max(offsets[at], offset)
			}
		}
	}
	var parts []string
	for partition := range int64(3) {
		offset := offsets[place(topic, partition)]
		require.NotZero(t, offset)
		parts = append(parts, fmt.Sprintf("partition:%d,offset:%d", partition, offset))
		for i := range records {
			if r := &records[i]; r.Topic == topic && int64(r.Partition) == partition && r.Offset < offset {
				n++
			}
		}
	}
	return strings.Join(parts, ";"), n
}

// execute returns what a program prints.
func execute(t *testing.T, stdin string, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Stdin, cmd.Stderr = strings.NewReader(stdin), t.Output()
	out, err := cmd.Output()
	require.NoError(t, err, name)
	return string(out)
}

// results splits what a program prints: rows, and a line "--" after each result.
func results(out string) (parts []rows) {
	for _, part := range strings.Split(strings.TrimSuffix(out, "--\n"), "--\n") {
		parts = append(parts, strings.Split(strings.TrimSuffix(part, "\n"), "\n"))
	}
	return parts
}

// choice is what a consumer wants of a topic: every other field of its schema, the last one first, and of records in it the first field.
type choice struct {
	topic, name string
	fields      []schemaField
}

type schemaField struct {
	Name    string          `json:"name"`
	Type    json.RawMessage `json:"type"`
	Default json.RawMessage `json:"default"`
}

func choose(t *testing.T, topic string, from int) choice {
	t.Helper()
	file := topic[strings.LastIndexByte(topic, '.')+1:]
	if file == "feedback-negative" {
		file = string(events.TypeFeedback)
	}
	text, err := schemas.Files.ReadFile(file + ".avsc")
	require.NoError(t, err)
	var schema struct {
		Name   string        `json:"name"`
		Fields []schemaField `json:"fields"`
	}
	require.NoError(t, json.Unmarshal(text, &schema))
	c := choice{topic: topic, name: schema.Name}
	for i, f := range schema.Fields {
		if i%2 == from {
			c.fields = append(c.fields, f)
		}
	}
	slices.Reverse(c.fields)
	return c
}

// schema is the reader's schema in Avro.
func (c *choice) schema(t *testing.T) string {
	t.Helper()
	text, err := json.Marshal(map[string]any{"type": "record", "name": c.name, "namespace": "agentassist.v1", "fields": c.fields})
	require.NoError(t, err)
	return string(text)
}

// kind is the Avro type of a field beneath a union with null: the name of a simple one or of what it is made of; first is the first field of a
// record.
func (f *schemaField) kind() (kind, first string) {
	var simple string
	if json.Unmarshal(f.Type, &simple) == nil {
		return simple, ""
	}
	var union []json.RawMessage
	if json.Unmarshal(f.Type, &union) == nil {
		of := schemaField{Type: union[len(union)-1]}
		return of.kind()
	}
	var made struct {
		Type, LogicalType string
		Items             json.RawMessage
		Fields            []schemaField
	}
	_ = json.Unmarshal(f.Type, &made)
	switch {
	case made.LogicalType != "":
		return made.LogicalType, ""
	case made.Type == "array":
		of := schemaField{Type: made.Items}
		_, first = of.kind()
	case len(made.Fields) > 0:
		first = made.Fields[0].Name
	}
	return made.Type, first
}

// flinkTable declares the topic with the chosen columns.
func (c *choice) flinkTable(p *platform) string {
	var columns []string
	for _, f := range c.fields {
		kind, first := f.kind()
		element := "STRING"
		if first != "" {
			element = "ROW<`" + first + "` " + map[bool]string{true: "TIMESTAMP(3)", false: "STRING"}[first == "from"] + ">"
		}
		columns = append(columns, f.Name+" "+map[string]string{
			"string": "STRING", "long": "BIGINT", "double": "DOUBLE", "boolean": "BOOLEAN", "bytes": "BYTES", "timestamp-millis": "TIMESTAMP(3)",
			"array": "ARRAY<" + element + ">", "map": "MAP<STRING, BIGINT>", "record": element,
		}[kind])
	}
	return fmt.Sprintf(`CREATE TEMPORARY TABLE %s (%s) WITH (
		'connector' = 'kafka', 'topic' = '%s', 'properties.bootstrap.servers' = '%s', 'properties.isolation.level' = 'read_committed',
		'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset', 'format' = 'avro-confluent', 'avro-confluent.url' = '%s'
	)`, c.table(), strings.Join(columns, ", "), c.topic, p.broker, p.registry)
}

func (c *choice) table() string { return "`chosen " + c.topic + "`" }

// flinkQuery returns the topic and the cells of each record with tabs between them.
func (c *choice) flinkQuery() string {
	cells := []string{"'" + c.topic + "'"}
	for _, f := range c.fields {
		kind, first := f.kind()
		cell := map[string]string{
			"array": "CARDINALITY(" + f.Name + ")", "map": "CARDINALITY(" + f.Name + ")", "record": f.Name + "." + first,
			"string": "REPLACE(REPLACE(" + f.Name + `, U&'\000A', '\n'), U&'\0009', '\t')`,
		}[kind]
		if cell == "" {
			cell = f.Name
		}
		cells = append(cells, "COALESCE(CAST("+cell+" AS STRING), 'null')")
	}
	return "SELECT CONCAT_WS(U&'\\0009', " + strings.Join(cells, ", ") + ") FROM " + c.table()
}

// fromFlink returns a row as the other clients print it.
func fromFlink(row string) string {
	cells := strings.Split(row, "\t")
	for i, c := range cells {
		if at, err := time.Parse("2006-01-02 15:04:05.999", c); err == nil {
			cells[i] = fmt.Sprint(at.UnixMilli())
		} else if c == "TRUE" || c == "FALSE" {
			cells[i] = strings.ToLower(c)
		}
	}
	return strings.Join(cells, "\t")
}

// require compares what was decoded with what a reader of all fields sees.
func (c *choice) require(t *testing.T, records []kafkaread.Record, got rows) {
	t.Helper()
	var want rows
	for _, r := range c.of(records) {
		var cells []any
		for _, f := range c.fields {
			_, first := f.kind()
			cells = append(cells, cellOf(r.Value[f.Name], first))
		}
		want.add(cells...)
	}
	requireRows(t, want, got)
}

// of returns the records of the topic, without those that have no value.
func (c *choice) of(records []kafkaread.Record) (out []*kafkaread.Record) {
	for i := range records {
		if r := &records[i]; r.Topic == c.topic && r.Value != nil {
			out = append(out, r)
		}
	}
	return out
}

func cellOf(value any, first string) string {
	switch v := value.(type) {
	case nil:
		return "null"
	case map[string]any:
		if first != "" {
			return cellOf(v[first], "")
		}
		return fmt.Sprint(len(v))
	case []any:
		return fmt.Sprint(len(v))
	case []byte:
		value = string(v)
	case time.Time:
		return fmt.Sprint(v.UnixMilli())
	}
	return strings.NewReplacer("\n", `\n`, "\t", `\t`).Replace(fmt.Sprint(value))
}

// flinkScript is a list of statements for one run of Flink.
type flinkScript struct {
	text  strings.Builder
	names []string
}

// add adds a statement, with the name of its result if it is a query.
func (f *flinkScript) add(name, statement string) {
	if statement = strings.TrimSpace(statement); statement == "" {
		return
	}
	f.text.WriteString(statement + "\x00")
	if name != "" {
		f.names = append(f.names, name)
	}
}

// run returns the results by name.
func (f *flinkScript) run(t *testing.T) map[string]rows {
	t.Helper()
	began := time.Now()
	parts := results(kafkatest.Java(t, "testdata/FlinkSQL.java", strings.NewReader(f.text.String())))
	t.Logf("Flink took %v", time.Since(began).Round(time.Second))
	require.Len(t, parts, len(f.names))
	named := map[string]rows{}
	for i, name := range f.names {
		named[name] = parts[i]
	}
	return named
}
