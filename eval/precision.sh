#!/bin/bash
# precision.sh [NAME...]: what does each level of the call graph leave open for real servers? NAME is a driver in
# oracle/servers, or httpd-min: Apache httpd with the few modules that it needs to serve a file.
#
# Profiles are made under the drivers' loads and kept in OUT (default: out/profiles) for the next time. The tables go to
# standard output, all else to standard error. FLAGS are passed on to precision/, which says what the columns are. Status 0:
# all of them were measured. Needs root.
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
../bin/precision ${FLAGS:-} "${profiles[@]}" || bad=1
exit $bad
