#!/bin/bash
# rewrite.sh [FLAGS...]: see eval/sweep/main.go; all executables of /usr/bin, at least 300 of them.
set -eu
cd "$(dirname "$0")/.."
go build -o bin/sweep ./eval/sweep
exec bin/sweep rewrite -dirs /usr/bin -min 300 "$@"
