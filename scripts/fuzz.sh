#!/usr/bin/env bash
# Runs each fuzz test whose name matches a pattern for a time: fuzz.sh 10m FuzzLimits
set -eu
cd "$(dirname "$0")/.."
time=${1:-10m} pattern=${2:-.}
for package in $(go list ./...); do
	for name in $(go test -list '^Fuzz' "$package" | grep '^Fuzz' | grep -E "$pattern" || true); do
		echo "== $package $name for $time"
		# Making each input smaller that reaches something new would take up to a minute, of the same time.
		go test -run '^$' -fuzz "^$name\$" -fuzztime "$time" -fuzzminimizetime 100x "$package"
	done
done
