#!/bin/bash
# eval.sh [PART...]: the tables of docs/evaluation.md, to standard output. PART: versions, paper, loading, speed, soundness;
# all of them by default. Profiles are made as by loading.sh, in OUT (default: out/eval), anew for each build of syspart.
# Status 0: all parts could be had.
# Needs root; about half an hour.
set -u
here=$(dirname "$0")
export SYSPART=$(realpath -m "${SYSPART:-$here/../bin/syspart}")
export OUT=$(realpath -m "${OUT:-$here/../out/eval}")
cd "$here" || exit 1
[ -x "$SYSPART" ] || { echo "eval: $SYSPART is missing; make build" >&2; exit 1; }
[ $# -gt 0 ] || set -- versions paper loading speed soundness
bad=0
need=(named apache2 apache2-prefork httpd-min lighttpd memcached nginx redis)
profiles() { RUN=0 ./loading.sh "${need[@]}" >/dev/null || return 1; }

versions() {
	printf '\n## Versions\n\n| program | version |\n|---|---|\n'
	for p in nginx redis-server memcached lighttpd apache2 bind9 libc6 libssl3; do
		printf '| %s | %s |\n' "$p" "$(dpkg-query -W -f '${Version}' "$p" 2>/dev/null || echo -)"
	done
	printf '| Linux | %s |\n| Go | %s |\n' "$(uname -r | cut -d- -f1)" "$(go env GOVERSION)"
}
paper() {
	profiles || return 1
	(cd .. && go build -o bin/paper ./eval/paper) || return 1
	../bin/paper -data data/paper "bind=$OUT/named.json:main" "httpd=$OUT/apache2.json:child" "httpd-prefork=$OUT/apache2-prefork.json:child" \
		"httpd-min=$OUT/httpd-min.json:child" "lighttpd=$OUT/lighttpd.json:main" "memcached=$OUT/memcached.json:thread" \
		"nginx=$OUT/nginx.json:child" "redis=$OUT/redis.json:main"
}
loading() {
	printf '\n## Run-time loading (the paper'"'"'s table 7), and the loads behind the filters\n\n'
	./loading.sh
}
# The median of three runs, in seconds, and the largest resident set in MiB.
measure() {
	local i
	for i in 1 2 3; do /usr/bin/time -q -f '%e %M %x' -o "$T" "$@" >/dev/null 2>&1; cat "$T"; done | sort -n | awk 'NR == 2 {s = $1} $3 {bad = 1} {m = $2 > m ? $2 : m} END {if (bad) printf "failed | -"; else printf "%s | %d", s, m / 1024}'
}
speed() {
	command -v /usr/bin/time >/dev/null || { echo "eval: /usr/bin/time is missing (Debian package time)" >&2; return 1; }
	T=$(mktemp) || return 1
	printf '\n## Speed (the paper'"'"'s table 10)\n\nSeconds of `analyze` from entry and main, with all libraries, median of three, and MiB; objdump -d of the same files in the same\nrun. The paper'"'"'s seconds are those of another machine.\n\n'
	printf '| application | cold | MiB | warm | MiB | objdump -d | cold/objdump | TSP | SysPart |\n|---|---|---|---|---|---|---|---|---|\n'
	for row in nginx:/usr/sbin/nginx:nginx redis:/usr/bin/redis-server:redis memcached:/usr/bin/memcached:memcached lighttpd:/usr/sbin/lighttpd:lighttpd httpd:/usr/sbin/apache2:httpd bind:/usr/sbin/named:bind; do
		IFS=: read -r name bin key <<<"$row"
		cold=$(measure "$SYSPART" analyze --no-cache -o json "$bin")
		"$SYSPART" analyze -o json "$bin" >/dev/null 2>&1
		warm=$(measure "$SYSPART" analyze -o json "$bin")
		mapfile -t files < <("$SYSPART" analyze -o json "$bin" 2>/dev/null | python3 -c 'import json, sys; d = json.load(sys.stdin); print("\n".join([d["program"]["path"]] + [m["path"] for m in d["modules"] if m["path"][0] == "/"]))')
		dump=$(measure sh -c 'for f; do objdump -d "$f"; done' sh "${files[@]}")
		printf '| %s | %s | %s | %s | %s | %s |\n' "$name" "$cold" "$warm" "${dump%% |*}" "$(awk -v a="${cold%% |*}" -v b="${dump%% |*}" 'BEGIN {printf "%.2f", a / b}')" \
			"$(awk -F'\t' -v n="$key" '$1 == n {print $2 " | " $3}' data/paper/table10_analysis_seconds.tsv)"
	done
	rm -f "$T"
}
soundness() {
	printf '\n## Soundness\n\nCalls that strace saw while the servers served, in the union of the serving sets (`oracle/check`), and indirect calls that\nvalgrind saw, in the call graph at level e (`edges.sh`):\n\n| driver | calls observed | missing |\n|---|---|---|\n'
	profiles || return 1
	local n rc=0
	for n in "${need[@]}"; do
		[ -s "oracle/observed/$n.serving.txt" ] || continue
		"$SYSPART" show -o names "$OUT/$n.json" >"$OUT/$n.names" || rc=1
		local missing # status 1: some are missing; more: it could not be checked
		missing=$(oracle/check "$n" "$OUT/$n.names" 2>/dev/null)
		case $? in
		0 | 1) missing=$(grep -c . <<<"$missing") ;;
		*) missing=unchecked rc=1 ;;
		esac
		printf '| %s | %d | %s |\n' "$n" "$(grep -c . "oracle/observed/$n.serving.txt")" "$missing"
	done
	printf '\n```\n'
	{ LEVELS=e ./edges.sh || rc=1; } 2> >(grep -F 'left out')
	printf '```\n'
	return $rc
}
for part in "$@"; do
	"$part" || { echo "FAIL $part" >&2; bad=1; }
done
exit $bad
