#!/bin/bash
# edges.sh [NAME...]: is every call through a pointer that valgrind saw in a server in our call graph, at every level?
# NAME is a driver in oracle/servers; by default all that were observed.
#
# What was observed is oracle/observed/NAME.edges.tsv*; edges from or to modules of other builds than the installed ones are
# left out, and named. RUN=1 observes anew what is installed (oracle/edges); SAVE=1 stores the tables. The modules
# of a program are those of its profile, from OUT (default: out/profiles) if it is there. LEVELS restricts the levels.
# Prints a line for each server and level, and each missing edge. Status 0: none is missing. Needs root.
set -u
here=$(dirname "$0")
SYSPART=$(realpath -m "${SYSPART:-$here/../bin/syspart}")
OUT=$(realpath -m "${OUT:-$here/../out/profiles}")
export SYSPART
cd "$here" || exit 1
[ -x "$SYSPART" ] || { echo "edges: $SYSPART is missing; make build" >&2; exit 1; }
if [ $# = 0 ]; then
	for t in oracle/observed/*.edges.tsv*; do t=${t##*/}; set -- "$@" "${t%%.edges*}"; done
fi
WORK=$(mktemp -d "${TMPDIR:-/tmp}/syspart-edges.XXXXXX") || exit 1
trap 'rm -rf "$WORK"' EXIT
# The oracle in a copy, with tables of our own.
cp -r oracle "$WORK/oracle" || exit 1
OBSERVED=$WORK/oracle/observed
levels=
for l in ${LEVELS:-a b c d e f g}; do
	"$SYSPART" callgraph --level "$l" --help >/dev/null 2>&1 && levels="$levels $l"
done

# installed PROFILE TABLE: the table without edges of modules that the profile lacks or has in another build.
installed() { python3 -c '
import gzip, json, os, sys
p = json.load(open(sys.argv[1]))
builds = {os.path.basename(m["path"]): m["buildID"] for m in [p["program"]] + p["modules"]}
other, lost = set(), 0
for line in (gzip.open if sys.argv[2].endswith(".gz") else open)(sys.argv[2], "rt"):
    f = line.rstrip("\n").split("\t")
    if f[0] == "#module" and (f[4] in ("", "-") or not builds.get(f[1], "").startswith(f[4])):
        other.add(f[1])
    elif f[0] in other or len(f) > 2 and f[0][0] != "#" and f[2] in other:
        lost += f[4] in ("icall", "ijmp")
    else:
        print(line, end="")
if other:
    print("   left out: %d edges of modules that the profile lacks or has in another build: %s" % (lost, " ".join(sorted(other))), file=sys.stderr)
' "$@"; }

bad=0
printf '%-18s %-5s %8s %8s\n' server level checked missing
for name in "$@"; do
	p=$OUT/$name.json
	precision/profile.sh "$name" "$p" >&2 || echo "$name: going on with what its profile has" >&2
	[ -s "$p" ] || { bad=1; continue; }
	if [ -n "${RUN:-}" ]; then
		rm -f "$OBSERVED/$name".edges.tsv*
		"$WORK/oracle/edges" "$name" >&2 || echo "$name: not all of the load passed under valgrind" >&2
	fi
	table=$(ls "$OBSERVED/$name".edges.tsv* 2>/dev/null) || { echo "$name: nothing was observed" >&2; bad=1; continue; }
	if [ -n "${RUN:-}" ] && [ -n "${SAVE:-}" ]; then
		if [ "${table%.gz}" = "$table" ]; then gzip -9n <"$table"; else cat "$table"; fi >"oracle/observed/.$name" &&
			mv "oracle/observed/.$name" "oracle/observed/$name.edges.tsv.gz"
	fi
	installed "$p" "$table" >"$WORK/table" || { bad=1; continue; }
	rm -f "$table"
	mv "$WORK/table" "$OBSERVED/$name.edges.tsv"
	program=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["program"]["path"])' "$p")
	for l in $levels; do
		"$SYSPART" callgraph --level "$l" -p "$p" -o json "$program" | python3 reduced.py "$OBSERVED/$name.edges.tsv" >"$WORK/graph.json"
		[ "${PIPESTATUS[*]}" = '0 0' ] || { echo "$name: no call graph at level $l" >&2; bad=1; continue; }
		"$WORK/oracle/edgecheck" "$name" "$WORK/graph.json" >"$WORK/missing" 2>"$WORK/says"
		read -r missing of checked <<<"$(sed -n 's/^[^:]*: \([0-9]*\) of \([0-9]*\) observed.*/\1 of \2/p' "$WORK/says")"
		[ -n "$checked" ] || { cat "$WORK/says" >&2; bad=1; continue; }
		printf '%-18s %-5s %8d %8d\n' "$name" "$l" "$checked" "$missing"
		sed 's/^/   missing: /' "$WORK/missing"
		[ "$missing" = 0 ] && [ "$checked" -gt 0 ] || bad=1
	done
done
exit $bad
