#!/bin/bash
# eval.sh [PART...]: the tables of docs/evaluation.md, to standard output, and its images, to OUT/plots. PART: versions; phases,
# allowed, differences, cves, payloads, sensitive (from profiles); loading; levels, forms (compilers.sh, the longest parts: about
# 20 minutes, with sources from the network); speed; soundness. A part that is named is made anew. Without names it is all of them
# but those in SKIP, and what an earlier run has left in OUT (default: out/eval) stays, for as long as syspart and what is in eval
# are the same: so a run may be cut off and taken up again.
# Profiles are made as by loading.sh, in OUT. Status 0: all parts could be had. Needs root; under an hour.
set -u
here=$(dirname "$0")
export SYSPART=$(realpath -m "${SYSPART:-$here/../bin/syspart}")
export OUT=$(realpath -m "${OUT:-$here/../out/eval}")
cd "$here" || exit 1
[ -x "$SYSPART" ] || { echo "eval: $SYSPART is missing; make build" >&2; exit 1; }
need=(named apache2 apache2-prefork httpd-min lighttpd memcached nginx redis)
all=(versions phases allowed differences cves payloads sensitive loading levels forms speed soundness)
for part in "$@" ${SKIP:-}; do
	[[ " ${all[*]} " = *" $part "* ]] || { echo "eval: $part is no part; there are ${all[*]}" >&2; exit 1; }
done
parts=$OUT/parts
mkdir -p "$parts" "$OUT/plots" || exit 1
made=$({ cat "$SYSPART"; find . -type f \( -name '*.go' -o -name '*.sh' -o -name '*.tsv' -o -name '*.txt' \) -print0 | sort -z | xargs -0 cat; } | sha256sum)
[ "$(cat "$parts/made" 2>/dev/null)" = "$made" ] || { rm -f "$parts"/*.md && echo "$made" >"$parts/made"; }
profiled=
profiles() { [ -n "$profiled" ] || { RUN=0 ./loading.sh "${need[@]}" >/dev/null && profiled=1; }; }
tool() { (cd .. && go build -o "bin/$1" "./eval/$1"); }

versions() {
	printf '\n## Versions\n\n| program | version |\n|---|---|\n'
	for p in nginx redis-server memcached lighttpd apache2 bind9 libc6 libssl3; do
		printf '| %s | %s |\n' "$p" "$(dpkg-query -W -f '${Version}' "$p" 2>/dev/null || echo -)"
	done
	printf '| Linux | %s |\n| Go | %s |\n| processors | %s |\n' "$(uname -r | cut -d- -f1)" "$(go env GOVERSION)" "$(nproc)"
}
paper() { # TABLE
	profiles && tool paper || return 1
	../bin/paper -data data/paper -tables "$1" "bind=$OUT/named.json:main" "httpd=$OUT/apache2.json:child" "httpd-prefork=$OUT/apache2-prefork.json:child" \
		"httpd-min=$OUT/httpd-min.json:child" "lighttpd=$OUT/lighttpd.json:main" "memcached=$OUT/memcached.json:thread" \
		"nginx=$OUT/nginx.json:child" "redis=$OUT/redis.json:main"
}
phases() { paper phases; }
allowed() { paper allowed && plot allowed 'Calls allowed while serving (table 2)'; }
differences() { paper differences; }
cves() { paper cves; }
payloads() { paper payloads && plot payloads 'Shellcode payloads stopped, with equivalents (table 5)'; }
sensitive() { paper sensitive; }
loading() {
	printf '\n## Run-time loading (the paper'"'"'s table 7), and the loads behind the filters\n\n'
	./loading.sh
}
levels() { ./compilers.sh levels; }
forms() { ./compilers.sh forms; }
# The least of five runs in seconds, which other programs disturb least, and the largest resident set in MiB.
measure() {
	local i
	for i in 1 2 3 4 5; do /usr/bin/time -q -f '%e %M %x' -o "$T" "$@" >/dev/null 2>&1; cat "$T"; done | sort -n | awk 'NR == 1 {s = $1} $3 {bad = 1} {m = $2 > m ? $2 : m} END {if (bad) printf "failed | -"; else printf "%s | %d", s, m / 1024}'
}
programs=(nginx=/usr/sbin/nginx redis=/usr/bin/redis-server memcached=/usr/bin/memcached lighttpd=/usr/sbin/lighttpd httpd=/usr/sbin/apache2 bind=/usr/sbin/named)
speed() {
	command -v /usr/bin/time >/dev/null || { echo "eval: /usr/bin/time is missing (Debian package time)" >&2; return 1; }
	tool stages || return 1
	local T row name bin cold warm dump files bad=0
	T=$(mktemp) || return 1
	printf '\n## Speed (the paper'"'"'s table 10)\n\nSeconds of `analyze` from entry and main, with all libraries, the least of five, and MiB; objdump -d of the same files in the same\nrun. The paper'"'"'s seconds are those of another machine.\n\n'
	printf '| application | cold | MiB | warm | MiB | objdump -d | cold/objdump | TSP | SysPart |\n|---|---|---|---|---|---|---|---|---|\n'
	for row in "${programs[@]}"; do
		name=${row%%=*} bin=${row#*=}
		cold=$(measure "$SYSPART" analyze --no-cache -o json "$bin")
		"$SYSPART" analyze -o json "$bin" >/dev/null 2>&1
		warm=$(measure "$SYSPART" analyze -o json "$bin")
		mapfile -t files < <("$SYSPART" analyze -o json "$bin" 2>/dev/null | python3 -c 'import json, sys; d = json.load(sys.stdin); print("\n".join([d["program"]["path"]] + [m["path"] for m in d["modules"] if m["path"][0] == "/"]))' | sort -u)
		dump=$(measure sh -c 'for f; do objdump -d "$f"; done' sh "${files[@]}")
		[[ $cold$warm$dump = *failed* ]] && { echo "eval: speed: $bin cannot be measured" >&2; bad=1; }
		printf '| %s | %s | %s | %s | %s | %s |\n' "$name" "$cold" "$warm" "${dump%% |*}" "$(awk -v a="${cold%% |*}" -v b="${dump%% |*}" 'BEGIN {printf "%.2f", a / b}')" \
			"$(awk -F'\t' -v n="$name" '$1 == n {print $2 " | " $3}' data/paper/table10_analysis_seconds.tsv)"
	done
	rm -f "$T"
	printf '\nBy stage, in seconds of a processor, the least of three: reading the files'"'"' structure; decoding every\ninstruction once, the floor; summaries of all modules, which decode as well, and are what an analysis finds in its cache that was not made before; reading\nthem from there; linking; the call graph; the walk from the entry.\n\n'
	printf '| application | MiB of code | instructions | structure | decoding | summaries | reading them | linking | call graph | walk |\n|---|---|---|---|---|---|---|---|---|---|\n'
	../bin/stages "${programs[@]}" || bad=1
	plot speed 'Seconds of an analysis (table 10); SysPart and TSP on another machine'
	return $bad
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
	LEVELS=e ./edges.sh 2>"$OUT/edges.log" || { cat "$OUT/edges.log" >&2; rc=1; }
	printf '```\n\nLeft out are edges from or to modules that the profiles lack or have in another build, %s in all.\n' "$(awk '/left out:/ {n += $3} END {print n + 0}' "$OUT/edges.log")"
	return $rc
}
# plot NAME TITLE: the place of an image among the tables.
plot() { printf '\n![%s](%s.svg)\n' "$2" "$1"; }
# draw PART: the image of a part that is there.
draw() {
	local six=bind,httpd,lighttpd,memcached,nginx,redis to=$OUT/plots/$1.svg
	case $1 in
	allowed) set -- "$1" -unit calls -rows "$six" own=ours sysfilter TSP TSPfixed SysPart ;;
	payloads) set -- "$1" -unit percent -rows "$six" ours sysfilter TSP TSPfixed SysPart ;;
	speed) set -- "$1" -unit seconds -log 'cold=ours, cold' 'warm=ours, warm' 'objdump -d' SysPart TSP ;;
	*) return 0 ;;
	esac
	tool bars || return 1
	# Of several tables of a part it is the last that begins with the shellcode's heading.
	sed '/^Shellcode .*without/,/^Shellcode .*with equivalents/d' "$parts/$1.md" |
		../bin/bars -title "$(sed -n "s/^!\[\(.*\)\]($1.svg)/\1/p" "$parts/$1.md")" "${@:2}" >"$to.new" && mv "$to.new" "$to"
}
bad=0
anew=("$@")
[ $# -gt 0 ] || set -- "${all[@]}"
for part in "$@"; do
	[ ${#anew[@]} = 0 ] && [[ " ${SKIP:-} " = *" $part "* ]] && continue
	[ ${#anew[@]} -gt 0 ] || [ ! -e "$parts/$part.md" ] || { cat "$parts/$part.md"; continue; }
	start=$SECONDS
	if "$part" >"$parts/$part.new"; then
		mv "$parts/$part.new" "$parts/$part.md" && draw "$part" || bad=1
		cat "$parts/$part.md"
		echo "eval: $part took $((SECONDS - start)) seconds" >&2
	else
		echo "FAIL $part" >&2
		bad=1
	fi
done
exit $bad
