#!/usr/bin/env bash
# Runs everything that tells whether rollcall works, and closes with a table of what passed, failed or was skipped.
# Logs and pictures go to artifacts/. With CI=true or REQUIRE_ALL=1 a skip makes the run fail.
set -u -o pipefail
cd "$(dirname "$0")/.."
mkdir -p artifacts
rows=artifacts/summary.txt # result, seconds, name, note; separated by tabs
again=artifacts/again.txt # tests that the race detector would disturb: package, name
: >"$rows"
: >"$again"

row() { printf '%s\t%s\t%s\t%s\n' "$@" >>"$rows"; }

# part NAME COMMAND...: runs a command and notes how it went.
part() {
	local name=$1 began=$SECONDS
	shift
	printf '\n== %s\n' "$name"
	if "$@"; then row passed $((SECONDS - began)) "$name" ""; else row FAILED $((SECONDS - began)) "$name" "see above"; fi
}

# gotest LOG each|whole ARGUMENT...: `go test -v`, all of its output in artifacts/LOG; what people want to see goes to
# the terminal. Skipped tests become rows; with "each" so do the top-level tests.
gotest() {
	local log=artifacts/$1 rowsof=$2
	shift 2
	go test -v "$@" 2>&1 | tee "$log" | awk -v rowsof="$rowsof" -v rows="$rows" -v again="$again" -f scripts/gotest.awk
}

# undisturbed runs the tests of the file $again without the race detector.
undisturbed() {
	local packages names
	packages=$(cut -d ' ' -f 1 "$again" | sort -u)
	names=$(cut -d ' ' -f 2 "$again" | sort -u | paste -s -d '|')
	# shellcheck disable=SC2086 # one argument a package
	gotest undisturbed.log whole -run "^($names)\$" $packages
}

install_tools() {
	# What stays missing shows up again, as skipped tests with the reason.
	bash scripts/install-tools.sh || echo "going on without; the tests that need these are skipped"
}

began=$SECONDS
part "install tools" install_tools
part "lint: gofmt, go vet, staticcheck" make --no-print-directory -s lint
if go env CGO_ENABLED | grep -q 1 && command -v "$(go env CC)" >/dev/null; then
	part "go test -race ./..." gotest unit.log whole -race ./...
	[ ! -s "$again" ] || part "go test, of what the race detector disturbs" undisturbed
	export ROLLCALL_E2E_RACE=1
else
	row skipped 0 "race detector" "needs cgo and a C compiler"
	part "go test ./..." gotest unit.log whole ./...
	export ROLLCALL_E2E_RACE=0
fi
export ROLLCALL_E2E=1
part "smoke run of the sample config, and real clients" gotest e2e.log each -count=1 -parallel 4 -timeout 15m ./e2e/

printf '\n== summary\n'
awk -F '\t' '{ printf "%-8s %4ds  %s%s\n", $1, $2, $3, $4 == "" ? "" : ": " $4 }' "$rows"
count() { grep -c "^$1" "$rows"; }
printf 'in %d s; logs in artifacts/\n\n' $((SECONDS - began))
status=0
[ "$(count FAILED)" = 0 ] || status=1
if [ "$(count skipped)" != 0 ] && { [ "${CI:-}" = true ] || [ "${REQUIRE_ALL:-}" = 1 ]; }; then
	echo "with CI=true or REQUIRE_ALL=1 nothing may be skipped"
	status=1
fi
printf '%d passed, %d failed, %d skipped\n' "$(count passed)" "$(count FAILED)" "$(count skipped)"
exit $status
