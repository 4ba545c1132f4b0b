#!/bin/bash
# traced.sh [-n N] [PROGRAM...]: is every call through a pointer that valgrind sees in a program in our call graph? The programs, by
# default N (200) of /usr/bin and /usr/sbin that lie evenly among all of them, run with --help, or with the arguments that stand
# behind them in the same word; without network, and where they can write nothing but an empty directory. The modules are those that
# analyze finds: edges from or to others do not count.
#
# Prints each missing edge, and how many programs and edges were checked. Status 0: none is missing. Needs root and valgrind.
set -u
here=$(cd "$(dirname "$0")" && pwd)
SYSPART=$(realpath -m "${SYSPART:-$here/../bin/syspart}")
n=200
[ "${1:-}" != -n ] || { n=$2; shift 2; }
[ -x "$SYSPART" ] || { echo "traced: $SYSPART is missing; make build" >&2; exit 1; }
if [ $# = 0 ]; then
	mapfile -t all < <(for f in /usr/bin/* /usr/sbin/*; do [ ! -L "$f" ] && [ ! -u "$f" ] && [ "$(head -c 4 "$f" | tail -c 3)" = ELF ] && echo "$f"; done)
	for ((i = 0; i < ${#all[@]} && i < n; i++)); do set -- "$@" "${all[i * ${#all[@]} / (n < ${#all[@]} ? n : ${#all[@]})]}"; done
fi
T=$(mktemp -d) || exit 1
trap 'rm -rf "$T"' EXIT
mkdir -p "$T/observed"
# What may be written: $1, which becomes the working directory.
cage='mount --bind "$1" "$1" && mount -o remount,ro,bind / && cd "$1" && shift && exec "$@"'
bad=0 programs=0 edges=0 left=0
for command in "$@"; do
	read -ra args <<<"$command"
	p=${args[0]} args=("${args[@]:1}") name=p$programs
	[ ${#args[@]} -gt 0 ] || args=(--help)
	rm -rf "$T/run" "$T/cg" && mkdir "$T/run" "$T/cg"
	timeout -k 5 60 unshare --net --ipc --uts --pid --mount --fork --kill-child --mount-proc sh -c "$cage" cage "$T" \
		env TMPDIR="$T/run" HOME="$T/run" valgrind -q --tool=callgrind --dump-instr=yes --dump-line=no --collect-jumps=yes --skip-plt=no --compress-strings=no --compress-pos=no \
		--vgdb=no --callgrind-out-file="$T/cg/%p" "$p" "${args[@]}" >/dev/null 2>&1 </dev/null
	[ -n "$(find "$T/cg" -type f -size +0)" ] || { left=$((left + 1)); continue; }
	python3 "$here/oracle/edges.py" make "$T/observed/$name" "$p" "$T/cg" >/dev/null 2>&1 || { left=$((left + 1)); continue; }
	table=$(ls "$T/observed/$name".edges.tsv*) || { left=$((left + 1)); continue; }
	"$SYSPART" analyze -o json "$p" 2>/dev/null >"$T/analysis" || { left=$((left + 1)); continue; }
	# The table without edges of modules that the analysis does not have.
	python3 -c '
import gzip, json, os, sys
a = json.load(open(sys.argv[1]))
known = {os.path.basename(m["path"]) for m in a["modules"]} | {os.path.basename(a["program"]["path"])}
for line in (gzip.open if sys.argv[2].endswith(".gz") else open)(sys.argv[2], "rt"):
    f = line.rstrip("\n").split("\t")
    if f[0][0] == "#" or f[0] in known and f[2] in known:
        print(line, end="")' "$T/analysis" "$table" >"$T/table" || { left=$((left + 1)); continue; }
	rm -f "$table" && mv "$T/table" "$T/observed/$name.edges.tsv"
	"$SYSPART" callgraph -o json "$p" 2>/dev/null | python3 "$here/reduced.py" "$T/observed/$name.edges.tsv" >"$T/graph.json"
	python3 "$here/oracle/edges.py" check "$T/observed" "$name" "$T/graph.json" >"$T/missing" 2>"$T/says"
	read -r missing of checked <<<"$(sed -n 's/^[^:]*: \([0-9]*\) of \([0-9]*\) observed.*/\1 of \2/p' "$T/says")"
	rm -f "$T/observed/$name".*
	[ -n "${checked:-}" ] || { left=$((left + 1)); continue; }
	programs=$((programs + 1)) edges=$((edges + checked))
	[ "$missing" = 0 ] || { bad=1; sed "s|^|missing in $p: |" "$T/missing"; }
done
echo "programs: $programs  indirect edges: $edges  left out: $left  missing: $([ "$bad" = 0 ] && echo none || echo see above)"
exit "$bad"
