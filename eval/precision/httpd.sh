#!/bin/bash
# httpd.sh [WRAPPER...]: Apache httpd (event MPM) with the modules alone that it needs to serve a file, under a short load.
# WRAPPER goes before its command line. Status 0: every request was answered in full, and the server ended by itself.
set -u
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C
unset http_proxy https_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY all_proxy
MODULES=/usr/lib/apache2/modules
D=$(mktemp -d "${TMPDIR:-/tmp}/syspart-httpd.XXXXXX") || exit 1
chmod 755 "$D"
PID=
alive() { [ -n "$PID" ] && kill -0 "$PID" 2>/dev/null; }
ended() {
	local i
	for ((i = 0; i < $1 * 10; i++)); do alive || return 0; sleep 0.1; done
	return 1
}
cleanup() {
	# The server's own id is in a directory of ours, so that it is ours as long as what we started is there.
	alive && { kill -TERM "$(cat "$D/pid" || echo "$PID")"; ended 10 || kill -KILL "$PID"; } 2>/dev/null
	rm -rf "$D"
}
trap cleanup EXIT
trap 'exit 1' INT TERM
die() {
	echo "httpd: $*" >&2
	tail -5 "$D/server.log" "$D/error.log" >&2 2>/dev/null
	exit 1
}

while :; do
	PORT=$((20000 + RANDOM % 12000))
	(exec 3<>"/dev/tcp/127.0.0.1/$PORT") 2>/dev/null || break
done
URL=http://127.0.0.1:$PORT
mkdir "$D/www"
echo '<html>hello</html>' >"$D/www/index.html"
seq 1 200000 >"$D/www/numbers.txt"
printf 'text/html html\ntext/plain txt\n' >"$D/types"
{
	for m in mpm_event authz_core dir mime; do echo "LoadModule ${m}_module $MODULES/mod_$m.so"; done
	[ "$(id -u)" = 0 ] && printf 'User www-data\nGroup www-data\n'
	cat <<CONF
ServerRoot $D
DefaultRuntimeDir $D
Mutex file:$D default
PidFile $D/pid
ServerName localhost
Listen 127.0.0.1:$PORT
ErrorLog $D/error.log
CustomLog $D/access.log "%h %t \"%r\" %>s %b"
TypesConfig $D/types
StartServers 2
ThreadsPerChild 8
MaxRequestWorkers 24
KeepAliveTimeout 1
GracefulShutdownTimeout 2
DocumentRoot $D/www
<Directory $D/www>
Require all granted
</Directory>
CONF
} >"$D/httpd.conf"

"$@" apache2 -f "$D/httpd.conf" -DFOREGROUND >"$D/server.log" 2>&1 </dev/null &
PID=$!
curl() { command curl -m 10 "$@"; }
ready() { [ "$(curl -fs "$URL/")" = '<html>hello</html>' ]; }
for ((i = 0; i < 300; i++)); do ready && break; sleep 0.1; done
ready || die "does not answer within 30 s"

numbers() { cmp -s - "$D/www/numbers.txt"; }
status() { curl -s -o "$D/answer" -w '%{http_code}' "$@"; }
load() {
	local i running=()
	for i in 1 2 3 4; do
		curl -fs "$URL/numbers.txt" | numbers &
		running+=($!)
	done
	for i in "${running[@]}"; do wait "$i" || die "a file did not arrive whole"; done
	ready || die "no index"
	curl -fsI "$URL/numbers.txt" >"$D/answer" || die "HEAD fails"
	[ "$(curl -fs -r 0-1 "$URL/numbers.txt" | head -c 1)" = 1 ] || die "a range fails"
	[ "$(status -z "$D/www/numbers.txt" "$URL/numbers.txt")" = 304 ] || die "no 304"
	[ "$(status "$URL/missing")" = 404 ] || die "no 404"
	curl -fs "$URL/index.html" "$URL/index.html" >"$D/answer" || die "two requests on one connection fail"
}
for ((i = 0; i < 8; i++)); do load; sleep 0.3; done
kill -USR1 "$(cat "$D/pid")" || die "no graceful restart"
sleep 2
for ((i = 0; i < 4; i++)); do load; sleep 0.3; done

kill -TERM "$(cat "$D/pid")" || die "has ended"
ended 120 || die "does not end"
wait "$PID"
rc=$?
PID=
[ $rc = 0 ] || die "ended with status $rc"
