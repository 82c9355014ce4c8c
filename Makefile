# build, test and demo need Go and nothing else. The other targets fetch their tools into .cache.

LINT_VERSION := v2.15.0
CACHE        := $(CURDIR)/.cache
LINT         := $(CACHE)/bin/golangci-lint-$(LINT_VERSION)
FUZZTIME     ?= 10s
KILLS        ?= 1000
# The race detector needs a C compiler, which a machine with Go alone does not have.
RACE         := $(shell test "$$(go env CGO_ENABLED)" = 1 && command -v $$(go env CC) >/dev/null && echo -race)

.PHONY: build test seeds demo full kafka-test clients vet lint tidy generate chart compose alerts fuzz bench microbench prove ci pictures demo-briefly clean

build: ## bin/poller; RELEASE=1.2.3 names the version
	go build $(if $(RELEASE),-trimpath) -ldflags '-X main.release=$(RELEASE)' -o bin/poller ./cmd/poller

# Processors are scarcer than memory where these run. Up to 3 GiB live at once in kafka-test.
test seeds full kafka-test lint fuzz: export GOGC := 400
test seeds full kafka-test lint fuzz: export GOMEMLIMIT := 8GiB

test: ## what Go alone can show, with the race detector; what is random or large is smaller here than in make full
	go test $(RACE) -short -timeout 20m ./...
	$(if $(RACE),go test -short -timeout 20m $$(.ci/slow))
	@echo
	@echo 'Left out here: full sizes (make full), tests on Apache Kafka and a real schema registry (make kafka-test, needs Java 17'
	@echo 'and Maven), the Helm chart (make chart), linting (make lint), fuzzing (make fuzz).$(if $(RACE),, No C compiler: ran without the race detector.)'

seeds: ## full size where that takes a minute: 10,000 seeds of page shifts, splits, intervals and plans among it
	.ci/test -timeout 20m $$(git grep -lE 'testing\.Short\(\)|testsize\.Pick\(' -- '*_test.go' ':!internal/poll/*' | xargs -n1 dirname | sort -u | sed 's|^|./|')
	.ci/test -timeout 20m $$(.ci/slow -skip) ./internal/poll/...

full: ## the same at full size, without the race detector; says what was skipped
	.ci/test -timeout 20m ./...

demo: build ## see it at work
	bin/poller demo

kafka-test: ## against Apache Kafka and a schema registry, which it installs and starts itself
	POLLER_KAFKA_TEST=1 ALLOW_SKIPS=no .ci/test -count=1 -timeout 40m -run 'Kafka|Real|Broker' $$(git grep -l internal/kafka/kafkatest -- '*_test.go' ':!internal/bench' | xargs -n1 dirname | sort -u | sed 's|^|./|')

clients: $(CACHE)/python $(CACHE)/node ## docs/kpis.md, docs/consuming.md and consumers in Python and Node beside those in Java, which kafka-test runs; needs Python 3 and Node
	POLLER_KAFKA_TEST=1 go test -count=1 -v -timeout 20m -run '^TestKafkaClients$$' ./internal/e2e -python $(CACHE)/python/bin/python -node $(CACHE)/node

$(CACHE)/python:
	python3 -m venv $@.new
	$@.new/bin/pip install --quiet 'confluent-kafka[avro,schemaregistry]==2.16.1' duckdb==2.0.1
	mv $@.new $@

$(CACHE)/node:
	mkdir -p $@.new
	npm install --silent --no-fund --no-audit --prefix $@.new kafkajs@2.2.4 kafkajs-snappy@1.1.0 avsc@5.7.9 @kafkajs/confluent-schema-registry@3.9.0
	mv $@.new $@

vet: ## what the Go team considers wrong
	go vet ./...

lint: $(LINT)
	$(LINT) run ./...

$(LINT):
	GOBIN=$(CACHE)/bin go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT_VERSION)
	mv $(CACHE)/bin/golangci-lint $@

tidy: ## go.mod holds what is imported, and nothing else
	go mod tidy -diff
	go mod verify

generate: ## what is generated is what is committed
	go generate ./...
	git diff --exit-code -- '*_gen.go' docs/events.md docs/asyncapi.yaml docs/config.schema.json deploy/helm/agentassist-poller/values.schema.json

chart: ## the Helm chart, rendered and read back
	cd deploy/helm/charttest && go test -count=1 ./... # the cache does not see the chart

compose: ## deploy/compose, read as docker compose reads it, and its poller's configuration
	cd deploy/compose/composetest && go test -count=1 ./... # the cache does not see compose.yaml

alerts: ## the alerts, evaluated by Prometheus over faults and over days without any, and the dashboard's queries
	cd deploy/prometheus/prometheustest && go test -mod=mod -count=1 ./... # the poller may import more than its go.mod knows

fuzz: ## every fuzz target for FUZZTIME, or for so many inputs with FUZZTIME=1000x; make test has their seeds
	.ci/fuzz $(FUZZTIME)

bench: ## what poller run costs, as processes beside Apache Kafka: one table, in ten minutes; BENCH_BASE=path takes turns with another build
	go test ./internal/bench -count=1 -run '^TestCost$$' -v -timeout 30m -args -cost $(if $(BENCH_BASE),-cost-base '$(abspath $(BENCH_BASE))') $(BENCH)

microbench: ## every benchmark of a part briefly, with ratios to baselines; docs/performance.md says what they are
	go test -short -run '^$$' -bench . -benchtime 300ms -benchmem $$(git grep -l '^func Benchmark' -- '*_test.go' | xargs -n1 dirname | sort -u | sed 's|^|./|')

prove: ## KILLS kills of the poller at every step of its delivery, on Apache Kafka, and what a reader has seen of them
	POLLER_KAFKA_TEST=1 go test -count=1 -v -timeout 12h -run '^TestKafkaKilled$$/^exactly-once$$' ./internal/e2e -kills $(KILLS)

ci: ## all of it but make full, make clients, make fuzz, make bench, make prove and make pictures, which take longer or need more; what fails fast comes first
	.ci/stages build vet lint tidy generate test seeds chart compose alerts kafka-test demo-briefly

pictures: ## docs/images, of a poller that reads the simulated contact centre; needs Chromium
	go test ./internal/app -count=1 -run '^TestPictures$$' -args -pictures '$(CURDIR)/docs/images'

demo-briefly: build
	bin/poller demo --duration 20s --json

clean:
	rm -rf bin .cache
