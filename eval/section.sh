#!/bin/bash
# section.sh FILE HEADING: replaces what is below the line "## HEADING" of a Markdown file, up to the next such line or the
# end, by standard input.
set -eu
text=$(cat)
[ -n "$text" ] || { echo "section: nothing to write" >&2; exit 1; }
grep -qx "## $2" "$1" || { echo "section: $1 has no \"## $2\"" >&2; exit 1; }
TEXT=$text awk -v h="## $2" '
	/^## / { in_section = $0 == h; print; if (in_section) printf "\n%s\n\n", ENVIRON["TEXT"]; next }
	!in_section { print }' "$1" | sed -e :a -e '/^\n*$/{$d;N;ba' -e '}' >"$1.new"
mv "$1.new" "$1"
