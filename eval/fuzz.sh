#!/bin/bash
# fuzz.sh [TIME [FUZZER...]]: every fuzzer of the project, or those named, for TIME (default 10m) each, one after another. A
# name is FuzzParse, for all packages that have one of that name, or internal/image/FuzzParse. A line each goes to standard
# output: package, fuzzer, executions, and how it ended. Inputs that fail are kept where Go puts them, in the package's
# testdata/fuzz. Status 0: none failed.
#
# Each uses all processors; with GOMAXPROCS=1 one, so that several runs go beside each other.
#
# Go gives an input ten seconds by the clock, and a machine with too much else to do may run nothing for as long. So an input
# of which Go says "hung or terminated unexpectedly" is tried alone; if it passes, it goes, and the rest of the time is used.
#
# Go minimises inputs that are merely new for up to a minute each, which for formats of many KiB is nearly all of the time; so
# that is turned off.
set -u
cd "$(dirname "$0")/.."
time=${1:-10m}
shift
case $time in *h) unit=3600 ;; *m) unit=60 ;; *) unit=1 ;; esac
seconds=$((${time%[hms]} * unit))
bad=0 log=$(mktemp)
trap 'rm -f "$log"' EXIT

# stalled PACKAGE FUZZER: whether what the log reports is a machine that stood still.
stalled() {
	grep -q 'hung or terminated unexpectedly' "$log" || return 1
	local input
	input=$(sed -n 's/.*Failing input written to //p' "$log")
	[ -f "$1/$input" ] && go test -timeout 10s -run "^$2\$/^${input##*/}\$" "./$1" >/dev/null 2>&1 && rm "$1/$input"
}

# fuzz PACKAGE FUZZER: runs one for the time; sets execs and status.
fuzz() {
	local end=$((SECONDS + seconds)) n
	execs=0 status=0
	while [ "$status" = 0 ] && [ "$SECONDS" -lt "$end" ]; do
		go test -run '^$' -fuzz "^$2\$" -fuzztime "$((end - SECONDS))s" -fuzzminimizetime 1x "./$1" >"$log" 2>&1
		status=$?
		n=$(grep -o 'execs: [0-9]*' "$log" | tail -1 | cut -d' ' -f2)
		execs=$((execs + ${n:-0}))
		[ "$status" != 0 ] || return
		# A worker that is slow to end at the deadline is no finding.
		if ! grep -q 'Failing input' "$log" && grep -q 'context deadline exceeded' "$log" || stalled "$1" "$2"; then status=0; fi
	done
}

while read -r package fuzzer; do
	[ $# -eq 0 ] || [[ " $* " = *" $fuzzer "* || " $* " = *" $package/$fuzzer "* ]] || continue
	fuzz "$package" "$fuzzer"
	printf '%s %s %s %s\n' "$package" "$fuzzer" "$execs" "$([ "$status" = 0 ] && echo ok || echo FAIL)"
	[ "$status" = 0 ] || { bad=1; grep -vE '^fuzz: (elapsed|minimizing)' "$log" >&2; }
done < <(grep -r '^func Fuzz' --include='*_test.go' . | sed 's|^\./\(.*\)/[^/]*:func \(Fuzz[A-Za-z0-9]*\).*|\1 \2|' | sort)
exit "$bad"
