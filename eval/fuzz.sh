#!/bin/bash
# fuzz.sh [TIME [FUZZER...]]: every fuzzer of the project, or those named, for TIME (default 10m) each, one after another. A
# name is FuzzParse, for all packages that have one of that name, or internal/image/FuzzParse. A line each goes to standard
# output: package, fuzzer, executions, and how it ended. Inputs that fail are kept where Go puts them, in the package's
# testdata/fuzz. Status 0: none failed.
#
# Each uses all processors; with GOMAXPROCS=1 one, so that several runs go beside each other.
#
# Go gives an input ten seconds by the clock. On a machine with too much else to do that is too short for any: "hung or
# terminated unexpectedly" with an input that passes alone is no finding.
#
# Go minimises inputs that are merely new for up to a minute each, which for formats of many KiB is nearly all of the time; so
# that is turned off.
set -u
cd "$(dirname "$0")/.."
time=${1:-10m}
shift
bad=0 log=$(mktemp)
trap 'rm -f "$log"' EXIT
while read -r package fuzzer; do
	[ $# -eq 0 ] || [[ " $* " = *" $fuzzer "* || " $* " = *" $package/$fuzzer "* ]] || continue
	go test -run '^$' -fuzz "^$fuzzer\$" -fuzztime "$time" -fuzzminimizetime 1x "./$package" >"$log" 2>&1
	status=$?
	# A worker that is slow to end at the deadline is no finding.
	if [ "$status" != 0 ] && ! grep -q 'Failing input' "$log" && grep -q 'context deadline exceeded' "$log"; then status=0; fi
	printf '%s %s %s %s\n' "$package" "$fuzzer" "$(grep -o 'execs: [0-9]*' "$log" | tail -1 | cut -d' ' -f2)" "$([ "$status" = 0 ] && echo ok || echo FAIL)"
	[ "$status" = 0 ] || { bad=1; grep -vE '^fuzz: (elapsed|minimizing)' "$log" >&2; }
done < <(grep -r '^func Fuzz' --include='*_test.go' . | sed 's|^\./\(.*\)/[^/]*:func \(Fuzz[A-Za-z0-9]*\).*|\1 \2|' | sort)
exit "$bad"
