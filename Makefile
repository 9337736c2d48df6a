# `make test` is all of it: it installs what it needs where it can, and runs everything that CI runs.
# `make help` lists the rest.

T ?= 10m
F ?= .

.DEFAULT_GOAL := help
.PHONY: help test build race lint smoke e2e fuzz bench bench-quick screenshot install-tools clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

test: ## install what is missing, then lint, race, smoke and e2e, with a summary
	@bash scripts/test.sh

build: ## bin/rollcall
	go build -trimpath -o bin/rollcall ./cmd/rollcall

race: ## unit and dialogue tests, fuzz seeds included, with the race detector
	go test -race ./...

lint: ## gofmt, go vet, staticcheck
	@files=$$(gofmt -l .); [ -z "$$files" ] || { echo "not as gofmt writes it: $$files"; exit 1; }
	go vet ./...
	go tool staticcheck ./...

smoke: ## run the binary with rollcall.example.toml as it is shipped
	ROLLCALL_E2E=1 go test -count=1 -v -run '^TestSampleConfig$$' ./e2e/

e2e: ## real clients and the demo page in Chromium against the real binary
	@bash scripts/install-tools.sh || true # what is missing is skipped, and says so
	ROLLCALL_E2E=1 go test -count=1 -v -timeout 15m ./e2e/

fuzz: ## every fuzz test for T (default 10m) each; F=FuzzName picks some
	@bash scripts/fuzz.sh $(T) '$(F)'

bench: ## the scenarios of bench/ at full size
	go run ./bench

bench-quick: ## the same in small, to see that they run
	go run ./bench -quick

screenshot: install-tools ## take docs/demo.png, the README's picture, anew
	UPDATE_SCREENSHOT=1 REQUIRE_ALL=1 ROLLCALL_E2E=1 go test -count=1 -v -run '^TestDemo$$' ./e2e/

install-tools: ## what race and e2e need: Debian packages (as root), npm packages, slixmpp
	@bash scripts/install-tools.sh

clean: ## what the other targets made
	rm -rf bin artifacts e2e/node_modules e2e/.venv
