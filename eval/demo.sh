#!/bin/bash
# demo.sh [nginx|redis-server]...: what syspart does, on servers as Debian ships them.
#
# For each server: profile it under a small workload; print what is open before and after each thread's main loop; show
# that a call which no serving thread needs still works in an unfiltered server; serve from behind the filters; show that
# the same call now ends the process that makes it. Everything listens on loopback, lives in one temporary directory, and is
# ended by its process id. Needs root or the right to trace one's own processes. Exit status 0: all of it held.
set -u
cd "$(dirname "$0")/.." || exit 1
SYSPART=${SYSPART:-$PWD/bin/syspart}
export PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin LC_ALL=C
unset http_proxy https_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY all_proxy
PATIENCE=300 # tenths of a second that anything may take

WORK=$(mktemp -d "${TMPDIR:-/tmp}/syspart-demo.XXXXXX") || exit 1
chmod 755 "$WORK"
STARTED=() # what this script started and has not yet waited for
cleanup() {
	local p
	for p in "${STARTED[@]}"; do
		# Still ours: an id may have been given to others since.
		grep -qs "^PPid:[[:space:]]*$$\$" "/proc/$p/status" && kill -TERM "$p" 2>/dev/null
	done
	for p in "${STARTED[@]}"; do wait "$p" 2>/dev/null; done
	rm -rf "$WORK"
}
trap cleanup EXIT
trap 'exit 1' INT TERM

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
[ -t 1 ] || say() { printf '\n%s\n' "$*"; }
die() {
	printf 'demo: %s\n' "$*" >&2
	[ -s "$D/server.log" ] && { echo "--- server.log" >&2; tail -15 "$D/server.log" >&2; }
	exit 1
}
ok() { printf '  ok  %s\n' "$*"; }

# until TEXT COMMAND...: waits until the command succeeds.
until_ok() {
	local what=$1 i
	shift
	for ((i = 0; i < PATIENCE; i++)); do
		"$@" >/dev/null 2>&1 && return 0
		sleep 0.1
	done
	die "$what: not within $((PATIENCE / 10)) s"
}

free_port() {
	local p
	while :; do
		p=$((20000 + RANDOM % 12000))
		(exec 3<>"/dev/tcp/127.0.0.1/$p") 2>/dev/null || { echo "$p"; return; }
	done
}

# children PID: ids of its children.
children() { cat "/proc/$1"/task/*/children 2>/dev/null; }

# start COMMAND...: in the background; sets PID.
start() {
	"$@" >>"$D/server.log" 2>&1 </dev/null &
	PID=$!
	STARTED+=("$PID")
}

# finish PID: waits for it; sets RC to its exit status.
finish() {
	local p left=()
	wait "$1"
	RC=$?
	for p in "${STARTED[@]}"; do [ "$p" = "$1" ] || left+=("$p"); done
	STARTED=("${left[@]}")
}

# filtered PID...: every thread of these processes has a filter.
filtered() {
	local p t n=0
	for p in "$@"; do
		for t in "/proc/$p"/task/*; do
			grep -q '^Seccomp:[[:space:]]*2$' "$t/status" 2>/dev/null || return 1
			n=$((n + 1))
		done
	done
	[ "$n" -gt 0 ]
}

print_threads() {
	local p t
	for p in "$@"; do
		for t in "/proc/$p"/task/*; do
			printf '      thread %-8s %-18s %s\n' "${t##*/}" "$(cat "$t/comm")" "$(grep -E '^Seccomp:' "$t/status" | tr '\t' ' ')"
		done
	done
}

# closed_call PROFILE: the first of some calls that no thread may make while serving.
closed_call() {
	local open c
	open=$("$SYSPART" show -o names "$1") || return 1
	for c in ptrace mount; do grep -qx "$c" <<<"$open" || { echo "$c"; return 0; }; done
	return 1
}

# summary PROFILE: the table of thread kinds, and where each has its main loop.
summary() {
	"$SYSPART" show "$1" | awk '/^before:/ {past=1} !past {print "  " $0} past && /main loop/ {sub(/^ +main loop +/, ""); print "  main loop: " $0}'
}

### nginx
nginx_setup() {
	mkdir -p "$D/www"
	seq 1 5000 >"$D/www/numbers.txt"
	echo 'hello from nginx' >"$D/www/index.html"
	cat >"$D/nginx.conf" <<CONF
$([ "$(id -u)" = 0 ] && echo 'user www-data;')
worker_processes 2;
pid $D/pid;
error_log $D/error.log notice;
events { worker_connections 64; }
http {
    access_log $D/access.log;
    client_body_temp_path $D/body; proxy_temp_path $D/proxy; fastcgi_temp_path $D/fastcgi;
    uwsgi_temp_path $D/uwsgi; scgi_temp_path $D/scgi;
    server { listen 127.0.0.1:$PORT; root $D/www; autoindex on; }
}
CONF
	cat >"$D/work.sh" <<WORK
for i in \$(seq 20); do
    curl -fsS http://127.0.0.1:$PORT/ http://127.0.0.1:$PORT/numbers.txt || exit 1
    curl -sS http://127.0.0.1:$PORT/missing
    curl -sSI http://127.0.0.1:$PORT/
done >/dev/null
WORK
	CMD=(nginx -e "$D/error.log" -p "$D" -c "$D/nginx.conf" -g 'daemon off;')
}
nginx_ready() { [ "$(curl -fsS "http://127.0.0.1:$PORT/")" = 'hello from nginx' ]; }
# Processes that serve, the master last.
nginx_processes() { local m; m=$(cat "$D/pid") && [ -n "$m" ] && echo "$(children "$m") $m"; }
nginx_running() { local p; p=$(nginx_processes) && [ "$(wc -w <<<"$p")" -ge 3 ] && filtered $p; }
nginx_requests() {
	local i
	for ((i = 0; i < 50; i++)); do
		[ "$(curl -fsS "http://127.0.0.1:$PORT/numbers.txt" | cksum)" = "$(cksum <"$D/www/numbers.txt")" ] || die "nginx: request $i failed"
	done
	ok "50 requests answered in full"
}
# A worker that is killed is replaced by the master, from behind its own filter.
nginx_after_kill() {
	until_ok "nginx: a new worker with its filter" nginx_replaced "$1"
	grep -q "$1 exited on signal 31" "$D/error.log" || die "nginx: its log does not tell of SIGSYS"
	ok "nginx's log: $(grep -o "worker process $1 exited on signal 31.*" "$D/error.log" | head -1)"
	ok "the master has started another worker, which has its filter:"
	print_threads $(nginx_processes)
	nginx_requests
	kill -TERM "$PID"
	finish "$PID"
	[ "$RC" = 0 ] || die "nginx ended with status $RC"
	ok "SIGTERM ends it with status 0"
}
nginx_replaced() { local p; p=$(nginx_processes) && [ "$(wc -w <<<"$p")" -ge 3 ] && ! grep -qw "$1" <<<"$p" && filtered $p; }

### redis-server
redis_setup() {
	cat >"$D/redis.conf" <<CONF
bind 127.0.0.1
port $PORT
dir $D
pidfile $D/pid
daemonize no
save ""
CONF
	cat >"$D/work.sh" <<WORK
for i in \$(seq 50); do
    redis-cli -p $PORT SET key:\$i value || exit 1
    redis-cli -p $PORT GET key:\$i
done >/dev/null
redis-cli -p $PORT BGSAVE >/dev/null
until redis-cli -p $PORT INFO persistence | grep -q '^rdb_bgsave_in_progress:0'; do sleep 0.1; done
WORK
	CMD=(redis-server "$D/redis.conf")
}
redis_cli() { redis-cli -p "$PORT" "$@"; }
redis_ready() { [ "$(redis_cli PING)" = PONG ]; }
redis_processes() { cat "$D/pid"; }
redis_running() { local p; p=$(redis_processes) && filtered $p; }
redis_saved() { redis_cli INFO persistence | tr -d '\r' | grep -q '^rdb_bgsave_in_progress:0'; }
redis_requests() {
	local i before
	for ((i = 0; i < 50; i++)); do
		[ "$(redis_cli SET "demo:$i" "$i")" = OK ] && [ "$(redis_cli GET "demo:$i")" = "$i" ] || die "redis: request $i failed"
	done
	ok "50 SET and GET"
	before=$(redis_cli LASTSAVE)
	rm -f "$D/dump.rdb"
	sleep 1.1 # LASTSAVE counts seconds
	redis_cli BGSAVE >/dev/null
	until_ok "redis: BGSAVE" redis_saved
	redis_cli INFO persistence | tr -d '\r' | grep -qx 'rdb_last_bgsave_status:ok' || die "redis: BGSAVE failed"
	[ -s "$D/dump.rdb" ] && [ "$(redis_cli LASTSAVE)" -gt "$before" ] || die "redis: BGSAVE wrote nothing"
	ok "BGSAVE, by a forked child that inherits the filter: rdb_last_bgsave_status:ok"
}
redis_after_kill() {
	finish "$PID"
	[ "$RC" = $((128 + 31)) ] || die "redis-server ended with status $RC, not by SIGSYS"
	ok "redis-server has ended by SIGSYS: syspart run exits with $RC"
	start "$SYSPART" run -p "$P" --action kill-process -- "${CMD[@]}"
	until_ok "redis: started again" redis_ready
	until_ok "redis: filters" redis_running
	redis_cli SHUTDOWN NOSAVE >/dev/null 2>&1
	finish "$PID"
	[ "$RC" = 0 ] || die "redis-server ended with status $RC"
	ok "started once more, SHUTDOWN ends it with status 0"
}

demo() {
	local name=$1 s=${1%-server} call victim t0=$SECONDS got
	D=$WORK/$name
	mkdir "$D"
	chmod 755 "$D"
	P=$D/profile.json
	PORT=$(free_port)
	command -v "$name" >/dev/null || die "$name is not installed"
	"${s}_setup"

	say "== $name: $(command -v "$name")"
	say "1. profile: where do its threads serve, and what can they need there?"
	printf '  $ syspart profile -o %s.json --workload ... -- %s\n' "$s" "${CMD[*]}" | sed "s|$WORK|DIR|g"
	"$SYSPART" profile -o "$P" --workload "sh '$D/work.sh'" -- "${CMD[@]}" >>"$D/server.log" 2>&1 || die "profile failed with status $?"
	summary "$P" | sed "s|$WORK|DIR|g"
	call=$(closed_call "$P") || die "$name: neither ptrace nor mount is closed"

	say "2. without filters: $call, made by a serving thread, is carried out by the kernel"
	start "${CMD[@]}"
	until_ok "$name: ready" "${s}_ready"
	until_ok "$name: its process id" "${s}_processes"
	victim=$(set -- $("${s}_processes"); echo "$1")
	got=$("$SYSPART" inject --pid "$victim" --tid "$victim" "$call" 0 0 0 0 0 2>>"$D/server.log") || die "inject failed"
	kill -0 "$victim" 2>/dev/null && "${s}_ready" || die "$name did not survive $call without a filter"
	ok "thread $victim: $call returns $got, and it serves on"
	kill -TERM "$PID"
	finish "$PID"

	say "3. with filters: real requests"
	printf '  $ syspart run -p %s.json -- ...\n' "$s"
	start "$SYSPART" run -p "$P" --action kill-process -- "${CMD[@]}"
	until_ok "$name: ready" "${s}_ready"
	until_ok "$name: filters" "${s}_running"
	ok "every thread has its filter:"
	print_threads $("${s}_processes")
	"${s}_requests"

	say "4. with filters: $call kills"
	victim=$(set -- $("${s}_processes"); echo "$1")
	if got=$("$SYSPART" inject --pid "$victim" --tid "$victim" "$call" 0 0 0 0 0 2>&1); then
		die "$name: $call returned $got behind the filter"
	fi
	ok "thread $victim: $call, and the process is gone"
	"${s}_after_kill" "$victim"
	printf '\n%s: all as promised, in %d s\n' "$name" $((SECONDS - t0))
}

[ -x "$SYSPART" ] || { echo "demo: $SYSPART is missing; make build" >&2; exit 1; }
D=$WORK
[ $# -gt 0 ] || set -- nginx redis-server
for name in "$@"; do
	case $name in nginx | redis-server) demo "$name" ;; *) die "$name: no such demonstration" ;; esac
done
