#!/bin/bash
# precision.sh [NAME...]: what does each level of the call graph leave open for real servers? NAME is a driver in
# oracle/servers, or httpd-min: Apache httpd with the few modules that it needs to serve a file.
#
# Profiles are made under the drivers' loads and kept in OUT (default: out/profiles) for the next time. The tables go to
# standard output, all else to standard error. FLAGS are passed on to precision/, which says what the columns are. SURPLUS=1
# prints instead, for the kind of each server that serves requests, what brings in the calls that nobody saw it make
# (oracle/observed). Status 0: all of them were measured. Needs root.
set -u
here=$(dirname "$0")
SYSPART=$(realpath -m "${SYSPART:-$here/../bin/syspart}")
OUT=$(realpath -m "${OUT:-$here/../out/profiles}")
export SYSPART
cd "$here" || exit 1
[ $# -gt 0 ] || set -- nginx redis memcached lighttpd apache2 apache2-prefork httpd-min named
(cd .. && go build -o bin/precision ./eval/precision) || exit 1

bad=0 profiles=()
for name in "$@"; do
	precision/profile.sh "$name" "$OUT/$name.json" >&2 || { echo "FAIL $name" >&2; bad=1; }
	[ -s "$OUT/$name.json" ] && profiles+=("$OUT/$name.json")
done
[ ${#profiles[@]} -gt 0 ] || exit 1
if [ -n "${SURPLUS:-}" ]; then
	declare -A serving=([nginx]=child [redis]=main [memcached]=thread [lighttpd]=main [apache2]=child [apache2-prefork]=child [httpd-min]=child [named]=main)
	for p in "${profiles[@]}"; do
		name=$(basename "$p" .json)
		seen=oracle/observed/${name/httpd-min/apache2}.serving.txt
		# Of several kinds with the role, the one with most instances.
		kind=$(python3 -c '
import json, sys
t = [t for t in json.load(open(sys.argv[1]))["threads"] if t["role"] == sys.argv[2]]
print(max(t, key=lambda t: t["instances"])["kind"])' "$p" "${serving[$name]:-main}") && [ -s "$seen" ] || { bad=1; continue; }
		../bin/precision -levels e -names "$kind" -surplus "$seen" "$p" || bad=1
	done
	exit $bad
fi
../bin/precision -observed oracle/observed ${FLAGS:-} "${profiles[@]}" || bad=1
exit $bad
