#!/bin/bash
# What tests, demo and evaluation need beyond Go, git and make. As root on Debian missing packages are installed, and no
# service is started by that; elsewhere they are only named. Silent if nothing is missing.
#
# With the argument oracle: also what all drivers in oracle/servers and oracle/edges need.
set -u
export PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

# command or file: Debian package
needs="
gcc:gcc
g++:g++
clang:clang
musl-gcc:musl-tools
strip:binutils
nginx:nginx
redis-server:redis-server
redis-cli:redis-tools
memcached:memcached
lighttpd:lighttpd
apache2:apache2
named:bind9
strace:strace
gdb:gdb
bwrap:bubblewrap
firejail:firejail
runc:runc
crun:crun
podman:podman
systemd-analyze:systemd
groff:groff-base
curl:curl
python3:python3
openssl:openssl
socat:socat
nc:netcat-openbsd
/usr/lib/debug/.build-id:libc6-dbg
"
[ "${1:-}" != oracle ] || needs="$needs
valgrind:valgrind
/usr/bin/time:time
ab:apache2-utils
pgrep:procps
dig:bind9-dnsutils
rndc:bind9-utils
memcstat:libmemcached-tools
saslpasswd2:sasl2-bin
/usr/lib/nginx/modules/ngx_http_image_filter_module.so:libnginx-mod-http-image-filter
/usr/lib/nginx/modules/ngx_stream_module.so:libnginx-mod-stream
/usr/lib/lighttpd/mod_openssl.so:lighttpd-mod-openssl
/usr/lib/lighttpd/mod_deflate.so:lighttpd-mod-deflate
/usr/lib/lighttpd/mod_webdav.so:lighttpd-mod-webdav
"

missing=
for n in $needs; do
	[[ $n == /* && -e ${n%%:*} ]] || command -v "${n%%:*}" >/dev/null 2>&1 || missing="$missing ${n##*:}"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" != 0 ] || [ ! -e /etc/debian_version ] || ! command -v apt-get >/dev/null; then
	echo "missing (Debian packages):$missing" >&2
	echo "tests that need them are skipped; install them, or run as root on Debian" >&2
	exit 0
fi
# Debian starts services when it installs them, unless this file says no.
if [ ! -e /usr/sbin/policy-rc.d ]; then
	printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
	chmod 755 /usr/sbin/policy-rc.d
fi
export DEBIAN_FRONTEND=noninteractive
echo "installing:$missing" >&2
install() { apt-get -qq install -y --no-install-recommends $missing >/dev/null; }
install 2>/dev/null || { apt-get -qq update && install; }
