#!/bin/bash
# stay.sh [NAME...]: what carries which filter, and does anything of syspart stay? NAME is a driver in oracle/servers.
#
# Each server is started by its driver, once by `run` and once by itself and then taken over by `attach`. When it has answered
# for some seconds its threads' filters are read back and compared with the profile (syspart status). Then what its
# administrator may do is done: three graceful restarts of httpd, a reload of nginx and lighttpd, a killed worker where there
# are several; and the filters are read again. Profiles are those of loading.sh, in OUT (default out/loading). A table goes to
# standard output. Status 0: every thread that lasts has the filter of the main loop that it is in, no thread is traced when
# syspart has gone, and the server answered throughout. Needs root; traffic stays on loopback.
set -u
here=$(dirname "$0")
export SYSPART=$(realpath -m "${SYSPART:-$here/../bin/syspart}")
export OUT=$(realpath -m "${OUT:-$here/../out/loading}")
cd "$here" || exit 1
[ -x "$SYSPART" ] || { echo "stay: $SYSPART is missing; make build" >&2; exit 1; }
[ $# -gt 0 ] || set -- apache2 apache2-prefork nginx lighttpd lighttpd-workers redis-io memcached named
RUN=0 ./loading.sh "$@" >/dev/null || { echo "stay: no profiles" >&2; exit 1; }
export ORACLE=$PWD/oracle
T=$(mktemp -d) || exit 1
trap 'rm -rf "$T"' EXIT
cp "$SYSPART" "$T/syspart" || exit 1 # which nobody else executes

# ours SERVER: the processes that execute our copy of syspart, beside the server.
ours() { find /proc -maxdepth 2 -path '/proc/[0-9]*/exe' -lname "$T/syspart" 2>/dev/null | cut -d/ -f3 | grep -vx "$1"; }
# read SERVER PROFILE FILE: what each thread carries, when all that is to come has come.
read_back() {
	local i
	for ((i = 0; i < 10; i++)); do
		"$T/syspart" status -p "$2" -o json "$1" >"$3" 2>>"$T/errors" || return 1
		python3 judge.py "$3" "$(readlink "/proc/$1/exe")" >/dev/null && break
		sleep 1
	done
	return 0
}
traced() {
	local p
	for p in $(tree "$1"); do awk '/^TracerPid:/ && $2 != 0 {print FILENAME}' "/proc/$p/task"/*/status 2>/dev/null; done
}
# one NAME HOW: a line of the table; in a shell of its own, for drivers leave variables behind.
one() {
	set +u # as the drivers want it
	. "$ORACLE/lib.sh"
	load "$1"
	local how=$2 p=$OUT/$1.json pid i kid why staying asked failed=0
	newdir
	trap 'finish 0 2>/dev/null; rm -rf "$D"' EXIT
	setup "$D" >"$D/setup.log" 2>&1 || { echo "FAIL $1: setup" >&2; return 1; }
	if [ "$how" = run ]; then launch "$T/syspart" -v run -p "$p" --; else launch; fi
	for ((i = 0; i < 300; i++)); do alive && ready >/dev/null 2>&1 && break; sleep 0.1; done
	pid=$(spid) || { echo "FAIL $1, $how: does not start" >&2; tail -3 "$D/server.log" >&2; return 1; }
	sleep 2
	[ "$how" = run ] || "$T/syspart" -v attach --wait 10s -p "$p" "$pid" >"$D/attach" 2>>"$D/server.log" || { cat "$D/server.log" >&2; return 1; }
	for ((i = 0; i < 30; i++)); do ready >/dev/null 2>&1 || failed=$((failed + 1)); sleep 0.1; done
	read_back "$pid" "$p" "$T/before"
	staying=$(ours "$pid" | wc -l)
	asked=-
	case $1 in
	apache2*)
		asked='3 graceful restarts, a child killed'
		for i in 1 2 3; do kill -USR1 "$pid"; sleep 3; ready >/dev/null 2>&1 || failed=$((failed + 1)); done
		kid=$(pgrep -P "$pid" -u www-data -f apache | tail -1)
		;;
	nginx) asked='reload, a worker killed'; kill -HUP "$pid"; sleep 3; kid=$(pgrep -P "$pid" -u www-data | head -1) ;;
	lighttpd) asked='graceful restart'; kill -USR1 "$pid"; sleep 3 ;;
	lighttpd-workers) asked='a worker killed'; kid=$(pgrep -P "$pid" -f lighttpd | head -1) ;;
	esac
	[ -n "${kid:-}" ] && kill -KILL "$kid"
	for ((i = 0; i < 30; i++)); do sleep 0.1; ready >/dev/null 2>&1 || failed=$((failed + 1)); done
	read_back "$pid" "$p" "$T/after"
	why=$(sed -n 's/.*what="\(threads that come later need a watcher: \|no stubs: \)\(.*\)"$/\2/p' "$D/server.log" | tail -1)
	frozen=$(sed -n 's/.*stood still for \([0-9.]*\) ms.*/\1/p' "$D/server.log" | sort -n | tail -1)
	[ "$staying" = 0 ] && [ -n "$(traced "$pid")" ] && { echo "FAIL $1, $how: traced: $(traced "$pid")" >&2; failed=$((failed + 1)); }
	local exe=$(readlink "/proc/$pid/exe") one two bad=0
	one=$(python3 judge.py "$T/before" "$exe") || bad=1
	two=$(python3 judge.py "$T/after" "$exe") || bad=1
	[ "$staying" = 0 ] || staying="$staying: $why"
	echo "| $1 | $how | $one | $asked | $two | $staying | ${frozen:-?} | $failed |"
	stop
	sleep 0.2
	finish
	[ $bad = 0 ] && [ $failed = 0 ]
}
bad=0
printf '| driver | by | filtered / in a main loop / all threads | then | filtered / in a main loop / all threads | syspart stays | longest stop, ms | failed answers |\n'
printf '|---|---|---|---|---|---|---|---|\n'
for name in "$@"; do
	for how in run attach; do
		(one "$name" "$how") || bad=1
	done
done
exit $bad
