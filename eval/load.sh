#!/bin/bash
# load.sh [PART...]: what enforcement costs under load, and whether anything fails. PART:
#   attach      nginx and redis answer 300,000 and 500,000 requests while attach installs filters and stubs: none may fail
#   throughput  nginx and redis plain and behind their filters, by turns, PAIRS (default 5) times: medians of the ratios of requests
#               a second, and of requests for each second of the processor that the server needs, which other programs disturb less
#   hardened    the same with hardened copies, without syspart; and how long each takes from its start to the first connection
#   faults      syspart is killed at some moment of run, and of attach, ROUNDS (default 100) times each: the server serves on,
#               also after a reload, and no thread is left traced or stopped
# Profiles are those of loading.sh (nginx-plain, redis-plain), in OUT (default: out/loading). Prints a line for each. Status 0:
# nothing failed. Needs root; traffic stays on loopback.
set -u
here=$(dirname "$0")
SYSPART=$(realpath -m "${SYSPART:-$here/../bin/syspart}")
OUT=$(realpath -m "${OUT:-$here/../out/loading}")
export SYSPART OUT
cd "$here" || exit 1
[ -x "$SYSPART" ] || { echo "load: $SYSPART is missing; make build" >&2; exit 1; }
[ $# -gt 0 ] || set -- attach throughput hardened faults
RUN=0 ./loading.sh nginx-plain redis-plain >/dev/null || { echo "load: no profiles" >&2; exit 1; }
D=$(mktemp -d "${TMPDIR:-/tmp}/syspart-load.XXXXXX") || exit 1
chmod 755 "$D"
PID=
stop() {
	[ -n "$PID" ] || return 0
	kill -TERM "$PID" 2>/dev/null
	wait "$PID" 2>/dev/null
	PID=
}
trap 'stop; rm -rf "$D"' EXIT
trap 'exit 1' INT TERM
P=$((20000 + RANDOM % 12000))
mkdir "$D/www"
head -c 4096 /dev/zero >"$D/www/page"
cat >"$D/conf" <<CONF
daemon off; user www-data; worker_processes 2; pid $D/pid; error_log $D/error.log;
events { worker_connections 256; }
http { client_body_temp_path $D/b; proxy_temp_path $D/p; fastcgi_temp_path $D/f; uwsgi_temp_path $D/u; scgi_temp_path $D/s; access_log off;
  keepalive_requests 1000000; server { listen 127.0.0.1:$P; root $D/www; } }
CONF
nginx=(nginx -e "$D/error.log" -c "$D/conf")
redis=(redis-server --port "$((P + 1))" --bind 127.0.0.1 --dir "$D" --save '')
serves() {
	case $1 in
	nginx) curl -fs -m 5 "http://127.0.0.1:$P/page" | cmp -s - "$D/www/page" ;;
	redis) [ "$(redis-cli -p "$((P + 1))" ping 2>/dev/null)" = PONG ] ;;
	esac
}
# start NAME [WRAPPER...]: the server, until it answers.
start() {
	local name=$1 i
	shift
	local -n argv=${FORM:-$name}
	"$@" "${argv[@]}" >"$D/server.log" 2>&1 </dev/null &
	PID=$!
	for ((i = 0; i < 100; i++)); do serves "$name" && return 0; sleep 0.1; done
	echo "load: $name does not answer" >&2
	return 1
}
# requests NAME N: N requests; prints how many a second, and fails if one of them did.
requests() {
	case $1 in
	nginx) ab -k -q -n "$2" -c 32 "http://127.0.0.1:$P/page" >"$D/ab" 2>&1 && grep -q '^Failed requests: *0$' "$D/ab" && ! grep -q '^Non-2xx' "$D/ab" &&
		awk '/^Requests per second/ {print int($4)}' "$D/ab" ;;
	redis) redis-benchmark -p "$((P + 1))" -n "$2" -c 32 -t get --csv >"$D/rb" 2>&1 && ! grep -qi error "$D/rb" && awk -F'"' '/GET/ {print int($4)}' "$D/rb" ;;
	esac
}
filtered() {
	local p
	for p in "$PID" $(pgrep -P "$PID"); do grep -q '^Seccomp:.*2' "/proc/$p/status" || return 1; done
}
bad=0
attach() {
	local name n
	for name in nginx redis; do
		start "$name" || { bad=1; continue; }
		n=300000
		[ "$name" = redis ] && n=500000 # or they are done before attach is
		requests "$name" $n >"$D/rate" &
		local load=$!
		sleep 0.5
		"$SYSPART" attach -p "$OUT/$name-plain.json" "$PID" >"$D/attach" 2>&1 || { cat "$D/attach" >&2; bad=1; }
		if kill -0 "$load" 2>/dev/null && wait "$load" && filtered; then
			echo "attach $name: $n requests, none failed, $(tail -1 "$D/attach")"
		else
			echo "FAIL attach $name: $(tail -3 "$D/ab" "$D/rb" 2>/dev/null)"
			bad=1
		fi
		stop
	done
}
throughput() {
	local name i form
	local -A rate ticks
	for name in nginx redis; do
		: >"$D/ratios"
		: >"$D/work"
		for ((i = 0; i < ${PAIRS:-5}; i++)); do
			for form in $(turns "$i"); do
				if [ "$form" = old ]; then
					start "$name" && sleep 1
				else
					start "$name" "$SYSPART" run -p "$OUT/$name-plain.json" -- && sleep 1 && filtered
				fi && ticks[$form]=$(processor) && rate[$form]=$(requests "$name" 100000) || { echo "FAIL throughput $name"; bad=1; break 2; }
				ticks[$form]=$(($(processor) - ticks[$form]))
				stop
			done
			awk -v a="${rate[hard]}" -v b="${rate[old]}" 'BEGIN {printf "%.3f\n", a / b}' >>"$D/ratios"
			awk -v a="${ticks[old]}" -v b="${ticks[hard]}" 'BEGIN {printf "%.3f\n", a / b}' >>"$D/work"
		done
		stop
		echo "throughput $name: requests a second, $(ratios); requests for each second of the processor, $(ratios "$D/work")"
	done
}
ratios() { sort -n "${1:-$D/ratios}" | awk '{r[NR] = $1} END {printf "median ratio %s of %d pairs (%s to %s)", r[int((NR + 1) / 2)], NR, r[1], r[NR]}'; }
# began PORT CMD...: milliseconds until a command takes connections; ends it.
began() {
	python3 - "$@" <<'PY'
import socket, subprocess, sys, time
port, argv = int(sys.argv[1]), sys.argv[2:]
t = time.monotonic()
p = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
while p.poll() is None and time.monotonic() < t + 30:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
        break
    except OSError:
        time.sleep(0.0005)
took = time.monotonic() - t
if p.poll() is not None:
    sys.exit(1)
p.terminate()
p.wait()
print("%.3f" % (took * 1000))
PY
}
# processor: the time in ticks that the server and its children have had so far.
processor() {
	local p
	for p in "$PID" $(pgrep -P "$PID"); do sed 's/.*) //' "/proc/$p/stat"; done | awk '{n += $12 + $13} END {print n}'
}
# turns I: which of the two comes first in the Ith pair.
turns() { (($1 % 2)) && echo hard old || echo old hard; }
hardened() {
	local name i form port
	local -A rate ticks
	for name in nginx redis; do
		"$SYSPART" harden -p "$OUT/$name-plain.json" -o "$D/$name.d" >/dev/null || { echo "FAIL hardened $name"; bad=1; continue; }
		local -n old=$name
		hard=("$D/$name.d/${old[0]}" "${old[@]:1}")
		port=$P
		[ "$name" = redis ] && port=$((P + 1))
		: >"$D/ratios"
		: >"$D/work"
		for ((i = 0; i < ${PAIRS:-5}; i++)); do
			for form in $(turns "$i"); do
				FORM=$form start "$name" && sleep 1 && { [ "$form" = old ] || filtered; } && rate[$form]=$(requests "$name" 100000) || { echo "FAIL hardened $name"; bad=1; break 2; }
				ticks[$form]=$(processor)
				stop
			done
			awk -v a="${rate[hard]}" -v b="${rate[old]}" 'BEGIN {printf "%.3f\n", a / b}' >>"$D/ratios"
			awk -v a="${ticks[old]}" -v b="${ticks[hard]}" 'BEGIN {printf "%.3f\n", a / b}' >>"$D/work"
		done
		stop
		echo "hardened $name: requests a second, $(ratios); requests for each second of the processor, $(ratios "$D/work")"
		: >"$D/ratios"
		: >"$D/times"
		for ((i = 0; i < ${STARTS:-20}; i++)); do
			for form in $(turns "$i"); do
				local -n argv=$form
				rate[$form]=$(began "$port" "${argv[@]}") || { echo "FAIL hardened $name: start"; bad=1; break 2; }
			done
			awk -v a="${rate[hard]}" -v b="${rate[old]}" 'BEGIN {printf "%.3f\n", a / b}' >>"$D/ratios"
			echo "${rate[old]} ${rate[hard]}" >>"$D/times"
		done
		echo "hardened $name: milliseconds from start to first connection, $(ratios); the least $(awk '{a = !a || $1 < a ? $1 : a; b = !b || $2 < b ? $2 : b} END {print a " plain, " b " hardened"}' "$D/times")"
	done
}
# The processes beside the server's that execute our own copy of syspart, which nobody else has.
watchers() {
	find /proc -maxdepth 2 -path '/proc/[0-9]*/exe' -lname "$D/syspart" 2>/dev/null | cut -d/ -f3 | grep -vx "$PID"
}
# held: the threads of the server that are traced or stopped.
held() {
	local t
	for t in "/proc/$PID/task"/* $(pgrep -P "$PID" | sed 's,.*,/proc/&/task/*,'); do
		grep -Eq '^(TracerPid:[[:space:]]*[1-9]|State:[[:space:]]*[tT])' "$t/status" 2>/dev/null && printf ' %s' "${t##*/}"
	done
}
# begun: run has become the server; else it has ended, and said that what was to watch it did not start.
begun() {
	local i
	for ((i = 0; i < 100; i++)); do
		[ "$(readlink "/proc/$PID/exe")" = "$(realpath "$(command -v nginx)")" ] && return
		kill -0 "$PID" 2>/dev/null || break
		sleep 0.1
	done
	grep -q 'did not start' "$D/server.log" || { echo "FAIL faults, run: $(tail -1 "$D/server.log")"; bad=1; }
	return 1
}
# sound WHAT ROUND: the server answers, also with new workers, and none of its threads stays stopped or traced.
sound() {
	local i
	for ((i = 0; i < 100; i++)); do serves nginx && break; sleep 0.1; done
	((i < 100)) || { echo "FAIL faults, $1: round $2: it does not serve"; bad=1; return; }
	kill -HUP "$PID"
	sleep 0.3
	serves nginx || { echo "FAIL faults, $1: round $2: it does not serve after a reload"; bad=1; }
	for ((i = 0; i < 50; i++)); do [ -z "$(held)" ] && return; sleep 0.1; done # what was not killed may be at work
	echo "FAIL faults, $1: round $2: stopped or traced:$(held)"
	bad=1
}
faults() {
	cp "$SYSPART" "$D/syspart" || { bad=1; return; }
	local i p killed=0 early=0 closed=0 plain=0 n=${ROUNDS:-100}
	for ((i = 0; i < n; i++)); do
		"$D/syspart" run -p "$OUT/nginx-plain.json" -- "${nginx[@]}" >"$D/server.log" 2>&1 </dev/null &
		PID=$!
		sleep "0.$(printf %03d $((RANDOM % ${RUN:-600})))"
		for p in $(watchers); do kill -KILL "$p" 2>/dev/null && killed=$((killed + 1)); done
		if begun; then
			sound run $i
			if filtered; then closed=$((closed + 1)); else plain=$((plain + 1)); fi
		else
			early=$((early + 1))
		fi
		stop
	done
	echo "faults, run: $n rounds, $killed processes killed; $early had not begun, $closed served filtered, $plain as without syspart"
	killed=0 closed=0 plain=0
	for ((i = 0; i < n; i++)); do
		start nginx || { bad=1; break; }
		"$D/syspart" attach -p "$OUT/nginx-plain.json" "$PID" >"$D/attach" 2>&1 &
		local at=$!
		sleep "0.$(printf %03d $((RANDOM % ${ATTACH:-400})))"
		kill -KILL $at 2>/dev/null && killed=$((killed + 1))
		wait $at 2>/dev/null
		sound attach $i
		if filtered; then closed=$((closed + 1)); else plain=$((plain + 1)); fi
		stop
	done
	echo "faults, attach: $n rounds, $killed processes killed; $closed served filtered, $plain as without syspart"
}
for part in "$@"; do "$part"; done
exit $bad
