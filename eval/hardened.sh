#!/bin/bash
# hardened.sh [NAME...]: do hardened copies serve as the originals do, and does each thread carry its filter? NAME is a driver in
# oracle/servers.
#
# Each server is profiled under its load (loading.sh, in OUT, default out/loading), hardened into OUT/hardened/NAME under
# kill-process, and driven as itself, without syspart. Meanwhile the filters of all its threads are read back every two seconds,
# through reloads and graceful restarts, and compared with the profile. A table goes to standard output. Status 0: every step of
# every load passed, every filter that was seen is one of the profile's, and no thread that lasted was without. Needs root.
set -u
here=$(dirname "$0")
export SYSPART=$(realpath -m "${SYSPART:-$here/../bin/syspart}")
export OUT=$(realpath -m "${OUT:-$here/../out/loading}")
cd "$here" || exit 1
[ -x "$SYSPART" ] || { echo "hardened: $SYSPART is missing; make build" >&2; exit 1; }
[ $# -gt 0 ] || set -- nginx redis memcached lighttpd apache2 apache2-prefork named
RUN=0 ./loading.sh "$@" >/dev/null || { echo "hardened: no profiles" >&2; exit 1; }
T=$(mktemp -d) || exit 1
trap 'rm -rf "$T"' EXIT

# The first process that executes a file: its parent does not.
leader() {
	local d p
	for d in /proc/[0-9]*; do
		[ "$(readlink "$d/exe" 2>/dev/null)" = "$1" ] || continue
		p=$(awk '/^PPid:/ {print $2}' "$d/status" 2>/dev/null)
		[ "$(readlink "/proc/$p/exe" 2>/dev/null)" = "$1" ] || { echo "${d#/proc/}"; return; }
	done
}
# watch PROGRAM PROFILE FILE: one document a line, until the file FILE.end is there.
watch() {
	local pid
	while [ ! -e "$3.end" ]; do
		pid=$(leader "$1")
		[ -n "$pid" ] && "$SYSPART" status -p "$2" -o json "$pid" 2>/dev/null | tr -d '\n' >>"$3" && echo >>"$3"
		sleep 2
	done
}
bad=0
printf '| driver | files | steps | readings | threads with the filter of a kind | with another | lasting, without |\n|---|---|---|---|---|---|---|\n'
for name in "$@"; do
	dir=$OUT/hardened/$name
	rm -rf "$dir"
	"$SYSPART" harden -p "$OUT/$name.json" -o "$dir" ${PARTIAL:+--partial} >"$T/files" || { echo "FAIL $name: cannot be hardened" >&2; bad=1; continue; }
	program=$(head -1 "$T/files")
	run=$program
	first=$(. oracle/lib.sh >/dev/null 2>&1; ORACLE=oracle; . "oracle/servers/$name.sh"; basename "$BIN")
	[ -e "$dir/$first" ] && run=$dir/$first # by the name that it is called by
	: >"$T/states"
	rm -f "$T/states.end"
	watch "$program" "$OUT/$name.json" "$T/states" &
	watcher=$!
	SRV_BIN=$run oracle/run "$name" >"$T/run" 2>&1 || { echo "FAIL $name: load" >&2; cat "$T/run" >&2; bad=1; }
	: >"$T/states.end"
	wait "$watcher"
	python3 - "$name" "$program" "$T/states" "$(wc -l <"$T/files")" "$(grep -o 'steps-ok=[0-9]* failed=[0-9]*' "$T/run")" <<'PY' || { echo "FAIL $name: filters" >&2; bad=1; }
import json, sys
name, program, file, files, steps = sys.argv[1:]
ok, failed = (int(s.split("=")[1]) for s in steps.split())
seen = {}
docs = [json.loads(l) for l in open(file) if l.strip()]
for n, d in enumerate(docs):
    for t in d["threads"]:
        if t["program"] == program:
            seen.setdefault((t["pid"], t["tid"], t["name"]), []).append((n, t))
right = other = without = 0
for key, l in seen.items():
    for n, t in l:
        if t["filters"] and not t.get("kinds"):
            other += 1
            print("FAIL %s: thread %s: %s calls open, which no kind has" % (name, key, t.get("open")), file=sys.stderr)
    if any(t.get("kinds") for n, t in l):
        right += 1
    # Before its loop a thread has none: two readings, the last ones of a server that goes on.
    elif len(l) > 1 and l[-1][0] - l[0][0] > 1:
        without += 1
        print("%s: thread %s has no filter" % (name, key), file=sys.stderr)
print("| %s | %s | %d of %d | %d | %d | %d | %d |" % (name, files, ok, ok + failed, len(docs), right, other, without))
sys.exit(1 if other or without or failed or not right else 0)
PY
done
exit $bad
