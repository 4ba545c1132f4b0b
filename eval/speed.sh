#!/bin/bash
# speed.sh [FLAGS...] [PROGRAM...]: see eval/speed/main.go; true, the six servers, mariadbd and postgres, those that are installed.
set -eu
cd "$(dirname "$0")/.."
[ -x bin/syspart ] || make -s build
go build -o bin/speed ./eval/speed
export PATH=$PATH:/usr/sbin
if [ $# = 0 ]; then
	for p in true redis-server memcached lighttpd nginx apache2 named mariadbd /usr/lib/postgresql/*/bin/postgres; do
		command -v "$p" >/dev/null 2>&1 && set -- "$@" "$p" || echo "speed: $p is not installed" >&2
	done
fi
exec bin/speed "$@"
