#!/bin/bash
# serve.sh NAME [WRAPPER...]: starts a server with code that it loads at run time, uses that code, and ends it. WRAPPER goes
# before its command line. NAME: nginx-plain, nginx-image (a dynamic module), memcached-sasl, named-plain, named-plugin,
# redis-plain, redis-module (built from testdata/module.c), lighttpd-plain. Status 0: every answer was right.
set -u
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C
unset http_proxy https_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY all_proxy
here=$(cd "$(dirname "$0")" && pwd)
NAME=$1
shift
D=$(mktemp -d "${TMPDIR:-/tmp}/syspart-loading.XXXXXX") || exit 1
chmod 755 "$D"
PID=
alive() { [ -n "$PID" ] && kill -0 "$PID" 2>/dev/null; }
ended() {
	local i
	for ((i = 0; i < $1 * 10; i++)); do alive || return 0; sleep 0.1; done
	return 1
}
cleanup() {
	alive && { kill -TERM "$PID"; ended 10 || kill -KILL "$PID"; } 2>/dev/null
	rm -rf "$D"
}
trap cleanup EXIT
trap 'exit 1' INT TERM
die() {
	echo "$NAME: $*" >&2
	tail -5 "$D/server.log" >&2 2>/dev/null
	exit 1
}
while :; do
	P=$((20000 + RANDOM % 12000))
	(exec 3<>"/dev/tcp/127.0.0.1/$P") 2>/dev/null || break
done
mkdir "$D/www"
seq 1 20000 >"$D/www/numbers.txt"
get() { curl -m 10 -fs "$@"; }
sasl() { python3 "$here/sasl.py" "$P" user "$1"; }
name() { dig +time=2 +tries=2 +short @127.0.0.1 -p "$P" "$@"; }
case $NAME in
nginx-*)
	{
		[ "$NAME" = nginx-image ] && echo 'load_module /usr/lib/nginx/modules/ngx_http_image_filter_module.so;'
		cat <<CONF
daemon off; user www-data; worker_processes 2; pid $D/pid; error_log $D/error.log;
events { worker_connections 64; }
http {
  client_body_temp_path $D/b; proxy_temp_path $D/p; fastcgi_temp_path $D/f; uwsgi_temp_path $D/u; scgi_temp_path $D/s; access_log off;
  server { listen 127.0.0.1:$P; root $D/www;
  $([ "$NAME" = nginx-image ] && echo 'location /small/ { alias '"$D/www/"'; image_filter resize 8 8; }') }
}
CONF
	} >"$D/conf"
	python3 "$here/png.py" >"$D/www/a.png"
	argv=(nginx -e "$D/error.log" -c "$D/conf")
	ready() { get "http://127.0.0.1:$P/numbers.txt" | cmp -s - "$D/www/numbers.txt"; }
	use() {
		ready || die "a file does not arrive"
		[ "$NAME" = nginx-plain ] || [ "$(get "http://127.0.0.1:$P/small/a.png" | head -c 4 | tail -c 3)" = PNG ] || die "no smaller picture"
	}
	;;
memcached-sasl)
	printf 'mech_list: plain\nsasldb_path: %s\n' "$D/sasldb" >"$D/memcached.conf"
	printf pw | saslpasswd2 -a memcached -c -p -f "$D/sasldb" user || die "no password"
	chmod 644 "$D/sasldb"
	export SASL_CONF_PATH=$D
	argv=(memcached -S -u nobody -p "$P" -l 127.0.0.1 -t 4)
	ready() { sasl pw >/dev/null 2>&1; }
	use() {
		[ "$(sasl pw)" = value ] || die "no value behind the password"
		[ "$(sasl wrong)" = refused ] || die "a wrong password is taken"
	}
	;;
named-*)
	printf '$TTL 60\n@ SOA a. b. 1 60 60 60 60\n@ NS localhost.\nw A 127.0.0.9\nw AAAA ::9\n' >"$D/zone"
	cat >"$D/conf" <<CONF
options { directory "$D"; listen-on port $P { 127.0.0.1; }; listen-on-v6 { none; }; recursion no; pid-file "$D/pid"; session-keyfile "$D/key"; };
$([ "$NAME" = named-plugin ] && echo 'plugin query "filter-aaaa.so" { filter-aaaa-on-v4 yes; };')
controls { };
zone "z.test" { type primary; file "$D/zone"; };
CONF
	chown -R bind "$D" 2>/dev/null
	argv=(named -f -u bind -c "$D/conf")
	ready() { [ "$(name w.z.test A)" = 127.0.0.9 ]; }
	use() {
		ready || die "no answer"
		six=$(name w.z.test AAAA)
		want=::9
		[ "$NAME" = named-plain ] || want=
		[ "$six" = "$want" ] || die "AAAA: $six"
	}
	;;
redis-*)
	argv=(redis-server --port "$P" --bind 127.0.0.1 --dir "$D" --save '')
	if [ "$NAME" = redis-module ]; then
		# Each run the same file: the profile names it.
		gcc -O2 -fPIC -shared -o "$D/module.so" "$here/testdata/module.c" || die "no module"
		module=${TMPDIR:-/tmp}/syspart-loading-module.so
		cmp -s "$D/module.so" "$module" || { cp "$D/module.so" "$module.$$" && chmod 755 "$module.$$" && mv "$module.$$" "$module"; }
		argv+=(--loadmodule "$module")
	fi
	ready() { [ "$(redis-cli -p "$P" ping 2>/dev/null)" = PONG ]; }
	use() {
		redis-cli -p "$P" set a "$RANDOM" >/dev/null || die "no set"
		[ "$NAME" = redis-plain ] || [ "$(redis-cli -p "$P" fixture.hello)" = hello ] || die "the module does not answer"
	}
	;;
lighttpd-plain)
	printf 'server.document-root = "%s"\nserver.port = %s\nserver.bind = "127.0.0.1"\nserver.pid-file = "%s"\n' "$D/www" "$P" "$D/pid" >"$D/conf"
	argv=(lighttpd -D -f "$D/conf")
	ready() { get "http://127.0.0.1:$P/numbers.txt" | cmp -s - "$D/www/numbers.txt"; }
	use() { ready || die "a file does not arrive"; }
	;;
*) die "no such server" ;;
esac

"$@" "${argv[@]}" >"$D/server.log" 2>&1 </dev/null &
PID=$!
for ((i = 0; i < 300; i++)); do ready && break; alive || die "has ended"; sleep 0.1; done
ready || die "does not answer within 30 s"
for ((i = 0; i < 10; i++)); do use; sleep 0.3; done
kill -TERM "$PID"
ended 60 || die "does not end"
wait "$PID"
rc=$?
PID=
[ $rc = 0 ] || die "ended with status $rc"
