#!/bin/bash
# serving.sh NAME...: is a server's profile wide enough, and how wide is it? NAME is a driver in oracle/servers.
#
# For each: profile it under the driver's load; compare its serving set with what was observed (oracle/check: calls that
# it lacks; oracle/tight: how much more it allows); then drive it again from behind its filters, where a denied call kills.
# Status 0: nothing is lacking and every step of the load passed. OUT (default: a temporary directory, removed) keeps the
# profiles. Needs root.
set -u
cd "$(dirname "$0")" || exit 1
SYSPART=${SYSPART:-$PWD/../bin/syspart}
[ -x "$SYSPART" ] || { echo "serving: $SYSPART is missing; make build" >&2; exit 1; }
[ $# -gt 0 ] || set -- nginx redis
if [ -z "${OUT:-}" ]; then
	OUT=$(mktemp -d) || exit 1
	trap 'rm -rf "$OUT"' EXIT
fi
mkdir -p "$OUT"

bad=0
for name in "$@"; do
	p=$OUT/$name.json
	echo "== $name"
	rm -f "$p"
	echo "-- profile"
	oracle/run "$name" "$SYSPART" profile -o "$p" -- || { echo "FAIL $name: load while profiling"; bad=1; }
	[ -s "$p" ] || { echo "FAIL $name: no profile"; bad=1; continue; }
	"$SYSPART" show -o names "$p" >"$OUT/$name.names" || { bad=1; continue; }
	echo "-- observed while serving, but not allowed"
	oracle/check "$name" "$OUT/$name.names" || { echo "FAIL $name: calls are lacking"; bad=1; }
	oracle/tight "$name" "$OUT/$name.names"
	echo "-- the same load behind the filters"
	oracle/run "$name" "$SYSPART" run -p "$p" --action kill-process -- || { echo "FAIL $name: load behind the filters"; bad=1; }
done
exit $bad
