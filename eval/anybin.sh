#!/bin/bash
# anybin.sh [FLAGS...]: is any ELF file analysed without crash or unbounded time or memory? Prints sections of
# docs/anybinary.md: all ELF files of Debian's default paths; then programs of other languages and linkers, built here where
# their compilers are installed, with what strace sees of them held against the analysis. FLAGS are those of eval/sweep.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/.."
[ -x bin/syspart ] || make -s build
go build -o bin/sweep ./eval/sweep
status=0
echo "### Files of the system"
echo
bin/sweep anybin -dirs "${DIRS:-/usr/bin:/usr/sbin:/usr/libexec:/usr/lib/x86_64-linux-gnu:/usr/lib64}" "$@" || status=1
echo
echo "### Other languages and linkers"
echo
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
mkdir "$work/bin" "$work/go"
src=$(realpath "$here/../testdata/hello")
missing=
# build NAME TOOL COMMAND...: "OUT" in the command is the program's path.
build() {
	local name=$1 tool=$2
	shift 2
	command -v "$tool" >/dev/null || { missing="$missing $name"; return 0; }
	(cd "$work" && "${@//OUT/$work/bin/$name}") >"$work/$name.log" 2>&1 || { echo "- $name: does not build: $(tail -1 "$work/$name.log")"; status=1; }
}
stripped() { cp "$work/bin/$1" "$work/bin/$1-stripped" && strip "$work/bin/$1-stripped"; }
build gcc gcc gcc -O2 "$src/hello.c" -o OUT
build clang clang clang -O2 "$src/hello.c" -o OUT
build gcc-lto gcc gcc -O2 -flto "$src/hello.c" -o OUT
build cet gcc gcc -O2 -fcf-protection=full "$src/hello.c" -o OUT
build noplt gcc gcc -O2 -fno-plt "$src/hello.c" -o OUT
build lazy gcc gcc -O2 -Wl,-z,lazy "$src/hello.c" -o OUT
build no-pie gcc gcc -O2 -no-pie "$src/hello.c" -o OUT
# Sections in another order: functions as a file says, folded where they are alike; code behind the data.
printf '.text.startup*\n.text.z*\n.text.hot*\n' >"$work/order"
build reordered ld.gold gcc -O2 -static -ffunction-sections -fuse-ld=gold "-Wl,--section-ordering-file=$work/order,--gc-sections,--icf=all" "$src/hello.c" -o OUT
build far-text gcc gcc -O2 -no-pie -Wl,--section-start=.text=0x8000000 "$src/hello.c" -o OUT
build static gcc gcc -O2 -static "$src/hello.c" -o OUT
build static-pie gcc gcc -O2 -static-pie "$src/hello.c" -o OUT
build musl musl-gcc musl-gcc -O2 "$src/hello.c" -o OUT
build musl-static musl-gcc musl-gcc -O2 -static "$src/hello.c" -o OUT
build c++ g++ g++ -O2 "$src/hello.cc" -o OUT
build c++-static g++ g++ -O2 -static "$src/hello.cc" -o OUT
build rust rustc rustc -O "$src/hello.rs" -o OUT
build fortran gfortran gfortran -O2 "$src/hello.f90" -o OUT
cp "$src/hello.ml" "$work/" # its compiler writes beside the source
build ocaml ocamlopt ocamlopt "$work/hello.ml" -o OUT
build assembly nasm sh -c "nasm -f elf64 '$src/hello.asm' -o hello.o && ld hello.o -o OUT"
cp "$src/hello.go" "$work/go/main.go"
(cd "$work/go" && GOFLAGS= go mod init hello >/dev/null 2>&1)
build go go env GOWORK=off CGO_ENABLED=0 go build -C go -o OUT .
build go-pie go env GOWORK=off CGO_ENABLED=0 go build -C go -buildmode=pie -o OUT .
build go-cgo go env GOWORK=off CGO_ENABLED=1 go build -C go -ldflags=-linkmode=external -o OUT .
for n in gcc static static-pie musl-static go go-cgo rust ocaml; do [ ! -e "$work/bin/$n" ] || stripped "$n"; done
# Without section headers: e_shoff, e_shnum and e_shstrndx are zero.
for n in gcc go; do
	[ -e "$work/bin/$n-stripped" ] || continue
	cp "$work/bin/$n-stripped" "$work/bin/$n-nosections"
	printf '\0\0\0\0\0\0\0\0' | dd of="$work/bin/$n-nosections" bs=1 seek=40 conv=notrunc status=none
	printf '\0\0\0\0' | dd of="$work/bin/$n-nosections" bs=1 seek=60 conv=notrunc status=none
done
echo '```'
bin/sweep recall -dirs "$work/bin" -min 20 | sed "s|$work/bin/||" || status=1
echo '```'
[ -z "$missing" ] || echo "
Not built, for want of a compiler:$missing."
exit "$status"
