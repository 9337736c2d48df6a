# `make test` is all of it: it installs what it needs where it can, and runs everything that CI runs.
# `make help` lists the rest.

T ?= 10m
F ?= .

.DEFAULT_GOAL := help
# Tools that are no dependency of this module: they come when they are asked for.
GOVULNCHECK ?= golang.org/x/vuln/cmd/govulncheck@latest
CYCLONEDX ?= github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0

.PHONY: help test vuln sbom build race lint smoke e2e fuzz bench bench-table bench-plots bench-scale bench-micro bench-quick screenshot install-tools clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

test: ## install what is missing, then lint, race, smoke and e2e, with a summary
	@bash scripts/test.sh

build: ## bin/rollcall
	go build -trimpath -o bin/rollcall ./cmd/rollcall

race: ## unit and dialogue tests, fuzz seeds included, with the race detector
	go test -race ./...

# The database of vulnerabilities: vuln.go.dev, or another one by its URL, such as file:///… (CONTRIBUTING.md says how to get one).
VULNDB ?=

vuln: ## known vulnerabilities of what the program is made of, and that modules are what go.sum says; needs the network
	go mod verify
	go run $(GOVULNCHECK) $(if $(VULNDB),-db '$(VULNDB)') ./...

sbom: ## bin/rollcall.cdx.json: what the program is made of, for machines (CycloneDX); needs the network
	@mkdir -p bin
	go run $(CYCLONEDX) app -json -licenses -main cmd/rollcall -output bin/rollcall.cdx.json .

lint: ## gofmt, go vet, staticcheck
	@files=$$(gofmt -l .); [ -z "$$files" ] || { echo "not as gofmt writes it: $$files"; exit 1; }
	go vet ./...
	go tool staticcheck ./...

smoke: ## run the binary with rollcall.example.toml as it is shipped
	ROLLCALL_E2E=1 go test -count=1 -v -run '^TestSampleConfig$$' ./e2e/

e2e: ## real clients and the demo page in Chromium against the real binary
	@bash scripts/install-tools.sh || true # what is missing is skipped, and says so
	ROLLCALL_E2E=1 go test -count=1 -v -parallel 4 -timeout 15m ./e2e/

fuzz: ## every fuzz test for T (default 10m) each; F=FuzzName picks some
	@bash scripts/fuzz.sh $(T) '$(F)'

# Where benchmarks write to; a checkout of prosody-modules, for Prosody to be measured as well; the URL of an empty PostgreSQL
# database, for rollcall to be measured with it as well.
BENCH_OUT ?= artifacts/bench
PROSODY_MODULES ?=
BENCH_DATABASE ?=
comma = ,
BENCH = go run ./bench -prosody-modules '$(PROSODY_MODULES)'
SWEEP = $(BENCH) -server installed -reps 1 -rounds 2 -samples 100 -duration 2s

bench: bench-table bench-plots ## what is installed, side by side: a table and plots, to BENCH_OUT; 20 minutes

bench-table: ## 500 users with 50 contacts each; the median of three
	$(BENCH) -server installed -rounds 6 -duration 3s \
		-also scram,batch,patch,stored$(if $(BENCH_DATABASE),$(comma)postgres -database '$(BENCH_DATABASE)') -o $(BENCH_OUT)/table

bench-plots: ## cost against contacts, sessions and the size of rosters
	$(SWEEP) -sweep contacts=10,50,200,1000 -o $(BENCH_OUT)/contacts
	$(SWEEP) -c 20 -sources 4 -sweep sessions=500,2000,8000 -o $(BENCH_OUT)/sessions
	$(SWEEP) -n 100 -c 10 -sweep roster=20,100,1000,9900 -o $(BENCH_OUT)/roster

SCALE = go run ./bench -server rollcall -reps 1 -parallel 64 -timeout 5m

bench-scale: ## 15,000 sessions with TLS, 10,000 names in one post, rosters of 9,990, 10,000 clients who come back; needs `ulimit -n 20000`
	$(SCALE) -n 15000 -c 50 -tls starttls -sources 4 -settle 5s -scenario idle -o $(BENCH_OUT)/scale-sessions
	$(SCALE) -n 10000 -c 50 -online 2000 -names 10000 -rounds 4 -service-delay 10ms -scenario refresh -o $(BENCH_OUT)/scale-refresh
	$(SCALE) -n 100 -c 10 -offline 9980 -rounds 2 -samples 100 -scenario refresh,latency -o $(BENCH_OUT)/scale-rosters
	$(SCALE) -n 10000 -c 50 -storm 10000 -service-delay 20ms -scenario storm -o $(BENCH_OUT)/scale-storm
	$(SCALE) -n 10000 -c 50 -storm 10000 -service-delay 20ms -data -scenario storm -o $(BENCH_OUT)/scale-storm-data

bench-quick: ## floor and rollcall in less than two minutes, to see the ratios
	go run ./bench -quick

# benchstat is no dependency of this module; `go install golang.org/x/perf/cmd/benchstat@latest` brings it without one.
BENCHSTAT = $(firstword $(wildcard $(shell go env GOPATH)/bin/benchstat) $(shell command -v benchstat))
MICRO ?= .

bench-micro: ## parsers, serializer, addresses, rosters, outbox, messages: six times each, for benchstat; MICRO=regexp picks, OLD=file compares
	@mkdir -p $(BENCH_OUT)
	go test -run '^$$' -bench '$(MICRO)' -benchmem -count=6 ./internal/... | grep -v '\[no test files\]' | tee $(BENCH_OUT)/micro.txt
	@if [ -n '$(BENCHSTAT)' ]; then $(BENCHSTAT) $(OLD) $(BENCH_OUT)/micro.txt; \
	else echo 'benchstat sums this up: go install golang.org/x/perf/cmd/benchstat@latest (go.mod stays as it is)'; fi

screenshot: install-tools ## take docs/demo.png, the README's picture, and docs/console.png anew
	UPDATE_SCREENSHOT=1 REQUIRE_ALL=1 ROLLCALL_E2E=1 go test -count=1 -v -run '^Test(Demo|Console)$$' ./e2e/

install-tools: ## what race and e2e need: Debian packages (as root), npm packages, slixmpp, Smack, Pebble
	@bash scripts/install-tools.sh

clean: ## what the other targets made
	rm -rf bin artifacts e2e/node_modules e2e/.venv e2e/bin e2e/converse
