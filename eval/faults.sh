#!/bin/bash
# faults.sh [PROGRAM]: does an analysis end with the right result or one clear error, and leave nothing broken, when two of
# them share a cache, the cache's disk is full, its directory cannot be written, entries are damaged, or it is interrupted at
# any time? Prints a section of docs/anybinary.md. Status 0: yes. The full disk needs root.
set -u
cd "$(dirname "$0")/.."
SYSPART=$(realpath "${SYSPART:-bin/syspart}")
program=${1:-/usr/bin/redis-server}
T=$(mktemp -d) || exit 1
trap 'umount "$T/disk" 2>/dev/null; rm -rf "$T"' EXIT
bad=0
run() { "$SYSPART" analyze -o names --from entry --cache-dir "$1" "$program" >"$2" 2>"$2.err"; }
row() { # WHAT RESULT, with the status of the check before
	local s=$?
	[ "$s" = 0 ] || bad=1
	echo "| $1 | $2 | $([ "$s" = 0 ] && echo yes || echo "**no**") |"
}
right() { cmp -s "$T/want" "$1"; }
run "$T/first" "$T/want" || { cat "$T/want.err" >&2; exit 1; }
echo "| fault | what is expected | holds |"
echo "|---|---|---|"

run "$T/two" "$T/a" & a=$!
run "$T/two" "$T/b" & b=$!
wait "$a" && wait "$b" && right "$T/a" && right "$T/b" && run "$T/two" "$T/c" && right "$T/c"
row "two analyses fill one cache at once" "both right, and so is one that uses it"

mkdir "$T/disk"
if mount -t tmpfs -o size=256k tmpfs "$T/disk" 2>/dev/null; then
	run "$T/disk/cache" "$T/d"
	s=$?
	{ [ "$s" = 0 ] && right "$T/d"; } || { [ "$s" = 1 ] && [ "$(wc -l <"$T/d.err")" = 1 ]; }
	row "the cache's disk is full" "right, or one line of error (status $s)"
	"$SYSPART" analyze -o names --from entry "$program" >"$T/disk/out" 2>"$T/e.err"
	dd if=/dev/zero of="$T/disk/fill" bs=1k 2>/dev/null
	"$SYSPART" profile -o "$T/disk/profile" --duration 1s -- sleep 3 >/dev/null 2>"$T/f.err"
	[ $? != 0 ] && [ ! -s "$T/disk/profile" ]
	row "the disk that a profile goes to is full" "an error, no part of a profile"
	umount "$T/disk"
fi

cp -a "$T/first" "$T/damaged"
for f in $(find "$T/damaged" -type f); do
	size=$(stat -c %s "$f")
	dd if=/dev/zero of="$f" bs=1 seek=$((size / 2)) count=64 conv=notrunc status=none
done
run "$T/damaged" "$T/g" && right "$T/g"
row "every entry of the cache is damaged" "right"
for f in $(find "$T/damaged" -type f); do truncate -s 100 "$f"; done
run "$T/damaged" "$T/h" && right "$T/h"
row "every entry of the cache is cut short" "right"

: >"$T/file"
run "$T/file/cache" "$T/i"
s=$?
{ [ "$s" = 0 ] && right "$T/i"; } || { [ "$s" = 1 ] && [ "$(wc -l <"$T/i.err")" = 1 ]; }
row "the cache's directory cannot be made" "right, or one line of error (status $s)"
if [ "$(id -u)" = 0 ] && command -v setpriv >/dev/null; then
	chmod 755 "$T" && mkdir "$T/ro" && chmod 555 "$T/ro" && cp "$SYSPART" "$T/syspart" && chmod 755 "$T/syspart"
	setpriv --reuid 65534 --regid 65534 --clear-groups "$T/syspart" analyze -o names --from entry --cache-dir "$T/ro" "$program" >"$T/j" 2>"$T/j.err"
	s=$?
	{ [ "$s" = 0 ] && right "$T/j"; } || { [ "$s" = 1 ] && [ "$(wc -l <"$T/j.err")" = 1 ]; }
	row "the cache's directory cannot be written" "right, or one line of error (status $s)"
fi

ok=0
for i in $(seq 12); do
	# Not in the background of a shell, where SIGINT is ignored.
	python3 - "$SYSPART" "$program" "$T/cut" "0.$((i * 7 % 90 + 10))" <<'PY' && ok=$((ok + 1))
import signal, subprocess, sys, time
p = subprocess.Popen([sys.argv[1], "analyze", "-o", "names", "--from", "entry", "--cache-dir", sys.argv[3], sys.argv[2]],
    stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler))
time.sleep(float(sys.argv[4]))
p.send_signal(signal.SIGINT)
out, err = p.communicate(timeout=60)
sys.exit(0 if p.returncode == 0 or not out and len(err.splitlines()) <= 1 and (p.returncode in (1, 130) or p.returncode == -2) else 1)
PY
done
run "$T/cut" "$T/k" && right "$T/k" && [ "$ok" = 12 ] && [ -z "$(find "$T/cut" -name '*.tmp*')" ]
row "interrupted at 12 different times" "nothing printed and at most one line of error ($ok of 12); the cache is good afterwards"
exit "$bad"
