#!/bin/bash
# profile.sh NAME FILE: makes FILE the profile of a server under its driver's load, unless it is there and fits what is
# installed. NAME is a driver in ../oracle/servers, or httpd-min (httpd.sh). Status 0: FILE is there and the load passed.
set -u
name=$1 file=$(realpath -m "$2")
cd "$(dirname "$0")" || exit 1
SYSPART=${SYSPART:-$PWD/../../bin/syspart}
[ -x "$SYSPART" ] || { echo "profile: $SYSPART is missing; make build" >&2; exit 1; }
[ -s "$file" ] && "$SYSPART" check "$file" >/dev/null 2>&1 && exit 0
mkdir -p "$(dirname "$file")"
rm -f "$file"
case $name in
httpd-min) drive=(./httpd.sh) ;;
*) drive=(../oracle/run "$name") ;;
esac
"${drive[@]}" "$SYSPART" profile -o "$file" -- || { echo "$name: the load fails" >&2; bad=1; }
[ -s "$file" ] || { echo "$name: no profile" >&2; exit 1; }
exit "${bad:-0}"
