#!/bin/bash
# compilers.sh [TABLE...]: what the compiler does to the profiles of servers built from their Debian sources. TABLE:
#   levels   the paper's table 8: memcached, redis, nginx and lighttpd by gcc and clang at -O0 to -O3
#   forms    its table 9: redis as a fixed-address program and as a fully static one, both stripped, profiled, hardened, and
#            driven by the oracle's load behind their filters
# Sources, builds and profiles are kept in WORK (default: out/compilers); what is there is not made again, so that a run may
# be cut off. SERVERS, COMPILERS and LEVELS restrict table 8. Nothing is installed: headers that are missing are unpacked in
# WORK. Tables go to standard output, all else to WORK/log. Status 0: every build has a profile. Needs root and apt.
set -u
here=$(cd "$(dirname "$0")" && pwd)
SYSPART=$(realpath -m "${SYSPART:-$here/../bin/syspart}")
WORK=$(realpath -m "${WORK:-$here/../out/compilers}")
export LC_ALL=C
[ -x "$SYSPART" ] || { echo "compilers: $SYSPART is missing; make build" >&2; exit 1; }
[ $# -gt 0 ] || set -- levels forms
mkdir -p "$WORK/apt/lists/partial" "$WORK/log" "$WORK/bin" "$WORK/profiles" || exit 1
cd "$WORK" || exit 1
made=$(sha256sum <"$SYSPART")
[ "$(cat profiles/made 2>/dev/null)" = "$made" ] || { rm -f profiles/*.json && echo "$made" >profiles/made; }
JOBS=${JOBS:-2}

# Sources: from the machine's own distribution, without changing its lists.
apt() {
	apt-get -o Dir::Etc::sourcelist="$WORK/apt/src.sources" -o Dir::Etc::sourceparts=/dev/null -o Dir::State::lists="$WORK/apt/lists" \
		-o APT::Sandbox::User=root -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= "$@"
}
sources() { # NAME: prints its directory
	local dir
	dir=$(echo "$1"-[0-9]*/)
	if [ ! -d "$dir" ]; then
		[ -e apt/src.sources ] || { sed 's/^Types:.*/Types: deb-src/' /etc/apt/sources.list.d/debian.sources >apt/src.sources && apt update; } >>log/apt 2>&1
		# A security update's source may be missing from a mirror; the release's is not.
		apt source "$1" >>log/apt 2>&1 || apt source "$1/$(. /etc/os-release && echo "$VERSION_CODENAME")" >>log/apt 2>&1 || return 1
		dir=$(echo "$1"-[0-9]*/)
	fi
	[ -d "$dir" ] && echo "${dir%/}"
}
libevent() { # its headers
	[ -e dev/usr/include/event.h ] && return
	mkdir -p dev && (cd dev && apt-get download libevent-dev && dpkg -x libevent-dev_*.deb .) >>"$WORK/log/apt" 2>&1 || return 1
	ln -sf "$(ldconfig -p | awk '/libevent-2.1.so.7 .*x86-64/ {print $NF; exit}')" dev/libevent.so
}
# build NAME COMPILER LEVEL: bin/NAME-COMPILER-LEVEL/, with the program of that name.
build() {
	local src to=$WORK/bin/$1-$2-$3 tree=$WORK/tree-$1
	[ -d "$to" ] && return
	src=$(sources "$1") || return 1
	rm -rf "$tree" "$to.new" && cp -a "$src" "$tree" && mkdir "$to.new" || return 1
	# Generated files are newer than what Debian's patches touched: no autotools.
	local f
	for f in aclocal.m4 configure config.h.in Makefile.in; do find "$tree" -name "$f" -exec touch {} + && sleep 0.02; done
	(
		cd "$tree" || exit 1
		case $1 in
		memcached)
			(cd "$WORK" && libevent) && CC=$2 CFLAGS="-$3 -w" CPPFLAGS="-I$WORK/dev/usr/include" LDFLAGS="-L$WORK/dev" ./configure --disable-docs && make -j"$JOBS" memcached && cp memcached "$to.new/" ;;
		redis) make -j"$JOBS" -C src redis-server CC="$2" OPTIMIZATION="-$3" MALLOC=libc BUILD_TLS=no USE_SYSTEMD=no && cp src/redis-server "$to.new/" ;;
		nginx)
			./configure --with-cc="$2" --with-cc-opt="-$3 -w" --without-http_rewrite_module --with-threads --prefix=/nonexistent && make -j"$JOBS" && cp objs/nginx "$to.new/" ;;
		lighttpd)
			CC=$2 CFLAGS="-$3 -w" ./configure --without-pcre2 --without-pcre --without-zlib --without-bzip2 --without-brotli --without-zstd --prefix=/nonexistent && make -j"$JOBS" &&
				cp src/lighttpd "$to.new/" && mkdir "$to.new/lib" && cp src/.libs/mod_*.so "$to.new/lib/" ;;
		esac
	) >"log/build-$1-$2-$3" 2>&1 && mv "$to.new" "$to"
}
# use NAME DIR PORT: starts the build's server behind the command in WRAP, and has it answer for some seconds.
command_of() {
	local d=$2
	case $1 in
	memcached) echo "$d/memcached -u nobody -l 127.0.0.1 -p $3 -t 4" ;;
	redis) echo "$d/redis-server --port $3 --bind 127.0.0.1 --save  --dir $D" ;;
	nginx)
		printf 'daemon off; user www-data; worker_processes 2; pid %s/pid; error_log %s/error.log;\nevents { worker_connections 64; }\nhttp { client_body_temp_path %s/b; proxy_temp_path %s/p; fastcgi_temp_path %s/f; uwsgi_temp_path %s/u; scgi_temp_path %s/s; access_log off; server { listen 127.0.0.1:%s; root %s/www; } }\n' \
			"$D" "$D" "$D" "$D" "$D" "$D" "$D" "$3" "$D" >"$D/conf"
		echo "$d/nginx -e $D/error.log -c $D/conf" ;;
	lighttpd)
		printf 'server.document-root = "%s/www"\nserver.port = %s\nserver.bind = "127.0.0.1"\nserver.pid-file = "%s/pid"\n' "$D" "$3" "$D" >"$D/conf"
		echo "$d/lighttpd -D -f $D/conf -m $d/lib" ;;
	esac
}
profile() { # NAME DIR FILE
	local port=$((21000 + RANDOM % 8000)) cmd
	D=$(mktemp -d) && chmod 755 "$D" && mkdir "$D/www" && echo hello >"$D/www/index.html" || return 1
	cmd=$(command_of "$1" "$2" "$port")
	local talk="for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do case $1 in nginx|lighttpd) curl -fs -m 5 http://127.0.0.1:$port/index.html ;; redis) printf 'SET a 1\\r\\nGET a\\r\\nQUIT\\r\\n' | nc -w 2 127.0.0.1 $port ;; memcached) printf 'set a 0 0 1\\r\\n1\\r\\nget a\\r\\nquit\\r\\n' | nc -w 2 127.0.0.1 $port ;; esac; sleep 0.2; done >/dev/null 2>&1; true"
	# shellcheck disable=SC2086
	timeout 120 "$SYSPART" profile -o "$3" --workload "$talk" -- $cmd >>"log/profile-$1" 2>&1 </dev/null
	local rc=$?
	rm -rf "$D"
	return $rc
}
# own FILE ROLE MODULE: calls of the kind that serves requests: of several of a role, the one with most.
own() {
	python3 - "$@" <<'PY'
import json, sys
p = json.load(open(sys.argv[1]))
l = [len(t["serving"]["own"]) for t in p["threads"] if t["role"] == sys.argv[2]]
print(max(l) if l else "-")
PY
}
declare -A role=([memcached]=thread [redis]=main [nginx]=child [lighttpd]=main)
levels() {
	local s c l p bad=0 n
	printf '\n## Compilers and levels (the paper'"'"'s table 8)\n\n`own` of the kind that serves requests, from Debian'"'"'s sources, each with libraries of this machine; few modules, so that the\ncounts are not those of Debian'"'"'s own builds.\n\n'
	printf '| server | compiler |%s\n|---|---|%s\n' "$(printf ' -%s |' ${LEVELS:-O0 O1 O2 O3})" "$(printf -- '---|%.0s' ${LEVELS:-O0 O1 O2 O3})"
	for s in ${SERVERS:-memcached lighttpd nginx redis}; do
		for c in ${COMPILERS:-gcc clang}; do
			printf '| %s | %s |' "$s" "$c"
			for l in ${LEVELS:-O0 O1 O2 O3}; do
				p=$WORK/profiles/$s-$c-$l.json
				n=-
				if build "$s" "$c" "$l" && { [ -s "$p" ] && "$SYSPART" check "$p" >/dev/null 2>&1 || profile "$s" "$WORK/bin/$s-$c-$l" "$p"; }; then
					n=$(own "$p" "${role[$s]}")
				fi
				[ "$n" = - ] && bad=1
				printf ' %s |' "$n"
			done
			echo
		done
	done
	return $bad
}
forms() {
	local form flags src bad=0 p dir k before
	printf '\n## A stripped fixed-address program and a fully static one (the paper'"'"'s table 9)\n\n`redis-server` from Debian'"'"'s source, gcc, with libc'"'"'s allocator; profiled, and driven by the oracle'"'"'s load\nas it is, under `run`, and as a hardened copy, denied calls killing.\n\n'
	printf '| form | own of main | kinds | steps plain | under run | hardened | calls denied |\n|---|---|---|---|---|---|---|\n'
	for form in fixed static; do
		dir=$WORK/bin/redis-$form
		[ $form = fixed ] && flags=-no-pie || flags='-static -no-pie'
		if [ ! -x "$dir/redis-server" ]; then
			src=$(sources redis) || return 1
			rm -rf "$WORK/tree-redis" && cp -r "$src" "$WORK/tree-redis" && mkdir -p "$dir" || return 1
			make -j"$JOBS" -C "$WORK/tree-redis/src" redis-server MALLOC=libc BUILD_TLS=yes USE_SYSTEMD=no CFLAGS=-fno-pie REDIS_CFLAGS=-fno-pie LDFLAGS="$flags" >"log/build-redis-$form" 2>&1 &&
				strip -o "$dir/redis-server" "$WORK/tree-redis/src/redis-server" || { bad=1; continue; }
		fi
		p=$WORK/profiles/redis-$form.json
		SRV_BIN=$dir/redis-server "$here/oracle/run" redis >"log/redis-$form-plain" 2>&1
		if ! { [ -s "$p" ] && "$SYSPART" check "$p" >/dev/null 2>&1; }; then
			rm -f "$p"
			SRV_BIN=$dir/redis-server "$here/oracle/run" redis "$SYSPART" profile -o "$p" -- >"log/redis-$form-profile" 2>&1
		fi
		[ -s "$p" ] || { bad=1; continue; }
		before=$(denied "$dir")
		SRV_BIN=$dir/redis-server "$here/oracle/run" redis "$SYSPART" run -p "$p" --action kill-process -- >"log/redis-$form-run" 2>&1
		rm -rf "$dir/hardened"
		"$SYSPART" harden -p "$p" -o "$dir/hardened" >"log/redis-$form-harden" 2>&1 || { bad=1; continue; }
		SRV_BIN=$dir/hardened/redis-server "$here/oracle/run" redis >"log/redis-$form-hardened" 2>&1
		printf '| %s, stripped | %s | %s | %s | %s | %s | %s |\n' "$form" "$(own "$p" main)" "$(python3 -c 'import json, sys; print(len(json.load(open(sys.argv[1]))["threads"]))' "$p")" \
			"$(steps "log/redis-$form-plain")" "$(steps "log/redis-$form-run")" "$(steps "log/redis-$form-hardened")" \
			"$(($(denied "$dir") - before))"
		for k in run hardened; do
			[ "$(grep ^FAIL "log/redis-$form-plain" | sort)" = "$(grep ^FAIL "log/redis-$form-$k" | sort)" ] && [ -n "$(steps "log/redis-$form-$k")" ] ||
				{ echo "compilers: $form, $k: other steps fail behind the filters" >&2; bad=1; }
		done
	done
	return $bad
}
# denied DIR: denials that the kernel has recorded of programs below it.
denied() { dmesg | grep 'type=1326' | grep -cF "exe=\"$1/"; }
steps() { sed -n 's/.*steps-ok=\([0-9]*\) failed=\([0-9]*\).*/\1 ok, \2 failed/p' "$1"; }
bad=0
for t in "$@"; do "$t" || bad=1; done
exit $bad
