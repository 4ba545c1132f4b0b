#!/bin/bash
# suites.sh [redis|memcached|nginx...]: the servers' own test suites, or the part of them that the packaged servers pass,
# with each server started by run, where a denied call kills; or, with HARDENED=1, with a hardened copy of each in its place.
#
# Profiles are those of loading.sh (redis, memcached; kept in OUT, default out/loading); that for nginx is made with all modules
# of the distribution that are installed, perl's left out, with which every call would be open. nginx's suite is a repository of
# its own: NGINX_TESTS names a git directory of it, and without it that suite is left out. Prints each suite's own closing line
# and how many processes were seen, by looks at half-second intervals, with a filter and without one. LIMIT: seconds for each
# suite, default 600. Status 0: all that was run passed. Needs root; traffic stays on loopback.
set -u
here=$(dirname "$0")
SYSPART=$(realpath -m "${SYSPART:-$here/../bin/syspart}")
OUT=$(realpath -m "${OUT:-$here/../out/loading}")
export LIMIT=${LIMIT:-600} SYSPART OUT
cd "$here" || exit 1
[ -x "$SYSPART" ] || { echo "suites: $SYSPART is missing; make build" >&2; exit 1; }
[ $# -gt 0 ] || set -- redis memcached nginx
S=${SCRATCH:-$(mktemp -d "${TMPDIR:-/tmp}/syspart-suites.XXXXXX")} || exit 1
chmod 755 "$S"
looker=
trap '[ -z "$looker" ] || kill "$looker" 2>/dev/null; [ -n "${SCRATCH:-}" ] || rm -rf "$S"' EXIT
trap 'exit 1' INT TERM

# look PROGRAM: every half second, the processes that execute PROGRAM in the scratch directory.
look() {
	while sleep 0.5; do
		local d
		for d in $(find /proc -maxdepth 2 -path '/proc/[0-9]*/exe' -lname "$1" 2>/dev/null); do
			d=${d%/exe}
			[[ $(readlink "$d/cwd") = "$S"/* ]] || continue
			awk -v p="${d#/proc/}" '/^Seccomp:/ {print p, $2}' "$d/status"
		done
	done >>"$S/looks" 2>/dev/null
}
bad=0
for name in "$@"; do
	p=$OUT/$name.json
	case $name in
	redis | memcached) RUN=0 ./loading.sh "$name" >/dev/null || { bad=1; continue; } ;;
	nginx)
		[ -d "${NGINX_TESTS:-}" ] || { echo "nginx suite: left out: NGINX_TESTS names no git directory of nginx-tests"; continue; }
		p=$OUT/nginx-suite.json
		[ -s "$p" ] && "$SYSPART" check "$p" >/dev/null 2>&1 || {
			modules=()
			for m in /usr/lib/nginx/modules/*.so; do [[ $m = *perl* ]] && continue; modules+=(--module "$m"); done
			./oracle/run nginx "$SYSPART" profile "${modules[@]}" -o "$p" -- >&2 || { bad=1; continue; }
		}
		;;
	*) echo "suites: no suite $name" >&2; exit 1 ;;
	esac
	program=$(readlink -f "$(command -v "$name" || command -v "$name-server")")
	called=$(command -v "$name-server" || command -v "$name")
	export WRAP="$SYSPART run --action kill-process -p $p --"
	if [ -n "${HARDENED:-}" ]; then
		rm -rf "$S/hardened-$name"
		"$SYSPART" harden -p "$p" -o "$S/hardened-$name" >"$S/files" || { bad=1; continue; }
		program=$(head -1 "$S/files")
		called=$S/hardened-$name/$(basename "$called")
		[ -e "$called" ] || called=$program
		WRAP=
		[ "$name" = nginx ] && WRAP=env # for the script that WRAP brings
	fi
	: >"$S/looks"
	look "$program" &
	looker=$!
	case $name in
	redis) ./oracle/suites/redis.sh "$called" "$S" ;;
	memcached) ./oracle/suites/memcached.sh "$program" "$S" ;;
	nginx) ./oracle/suites/nginx.sh "$program" "$(realpath "$NGINX_TESTS")" "$S" ;;
	esac || bad=1
	kill "$looker" && wait "$looker" 2>/dev/null
	looker=
	awk -v n="$name" '$2 == 2 {f[$1] = 1} {a[$1] = 1} END {for (p in a) if (p in f) yes++; else no++; print n " suite: " yes + 0 " processes seen with a filter, " no + 0 " without one yet"}' "$S/looks"
done
exit $bad
