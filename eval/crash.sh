#!/bin/bash
# crash.sh [FLAGS...]: see eval/sweep/main.go; all executables of /usr/bin and /usr/sbin, at least 300 of them.
set -eu
cd "$(dirname "$0")/.."
[ -x bin/syspart ] || make -s build
go build -o bin/sweep ./eval/sweep
exec bin/sweep crash -min 300 "$@"
