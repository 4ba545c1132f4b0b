#!/bin/bash
# loading.sh [NAME...]: is the code that servers load at run time found, and does it work behind the filters? NAME is a
# driver in oracle/servers, or a configuration of loading/serve.sh.
#
# Each is profiled under its load, and driven again from behind its filters, where a denied call kills. Profiles are kept in
# OUT (default: out/loading) for as long as syspart is the same. The table goes to standard output, all else to standard error. RUN=0: the table alone.
# Status 0: every step of every load passed. Needs root.
set -u
here=$(dirname "$0")
SYSPART=$(realpath -m "${SYSPART:-$here/../bin/syspart}")
OUT=$(realpath -m "${OUT:-$here/../out/loading}")
cd "$here" || exit 1
[ -x "$SYSPART" ] || { echo "loading: $SYSPART is missing; make build" >&2; exit 1; }
(cd .. && go build -o bin/loading ./eval/loading) || exit 1
mkdir -p "$OUT" || exit 1
made=$(sha256sum <"$SYSPART")
[ "$(cat "$OUT/made" 2>/dev/null)" = "$made" ] || { rm -f "$OUT"/*.json && echo "$made" >"$OUT/made"; }
[ $# -gt 0 ] || set -- httpd-min apache2 apache2-prefork lighttpd-plain lighttpd nginx-plain nginx nginx-image named-plain named named-plugin \
	memcached memcached-sasl redis-plain redis redis-module

drive() {
	case $1 in
	*-plain | *-image | *-plugin | *-module | *-sasl)
		if [ "$1" = memcached-plain ]; then ./oracle/run "$@"; else ./loading/serve.sh "$@"; fi ;;
	httpd-min) ./precision/httpd.sh "${@:2}" ;;
	*) ./oracle/run "$@" ;;
	esac
}
bad=0 profiles=()
for name in "$@"; do
	p=$OUT/$name.json
	[ -s "$p" ] && "$SYSPART" check "$p" >/dev/null 2>&1 || {
		rm -f "$p"
		drive "$name" "$SYSPART" profile -o "$p" -- >&2 || { echo "FAIL $name: load while profiling" >&2; bad=1; }
	}
	[ -s "$p" ] || { echo "FAIL $name: no profile" >&2; bad=1; continue; }
	profiles+=("$p")
	[ "${RUN:-1}" = 0 ] && continue
	drive "$name" "$SYSPART" run -p "$p" --action kill-process -- >&2 || { echo "FAIL $name: load behind the filters" >&2; bad=1; continue; }
	echo "ok $name" >&2
done
[ ${#profiles[@]} -gt 0 ] || exit 1
../bin/loading -paper data/paper/table7_dynamic_loading.tsv "${profiles[@]}" || bad=1
exit $bad
