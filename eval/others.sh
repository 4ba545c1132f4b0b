#!/bin/bash
# others.sh [NAME...]: servers of Debian that nothing here was made for. Each is set up in an empty directory on loopback,
# profiled while it is used, started behind its filters under kill-process, and used again, three times. A table goes to
# standard output: the kinds of threads with a main loop, how many calls are open to them (least and most), whether each use
# passed, and what is wrong if something is. Profiles and logs are kept in OUT (default out/others). Status 0: all passed.
# Needs root; a server that is not installed is left out and named.
set -u
here=$(cd "$(dirname "$0")" && pwd)
SYSPART=$(realpath -m "${SYSPART:-$here/../bin/syspart}")
OUT=$(realpath -m "${OUT:-$here/../out/others}")
PORT=${PORT:-24000}
export LC_ALL=C PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin:$(echo /usr/lib/postgresql/*/bin)
[ -x "$SYSPART" ] || { echo "others: $SYSPART is missing; make build" >&2; exit 1; }
[ $# -gt 0 ] || set -- dnsmasq haproxy vsftpd proftpd mosquitto unbound knotd nsd sshd dropbear tinyproxy stunnel varnishd mini_httpd privoxy ngircd squid \
	rsync php-fpm8.2 mariadbd postgres pdns_server webfsd beanstalkd nghttpx turnserver
mkdir -p "$OUT"
T=$(mktemp -d) && chmod 755 "$T" || exit 1
main= behind=
trap 'for p in $main $behind; do kill "$p" 2>/dev/null; done; rm -rf "$T"' EXIT

certificate() { openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout "$1/key.pem" -out "$1/cert.pem" 2>/dev/null; cat "$1/key.pem" "$1/cert.pem" >"$1/both.pem"; }
zone() { printf '$ORIGIN test.example.\n@ 60 IN SOA ns host 1 60 60 60 60\n@ 60 IN NS ns\nns 60 IN A 10.1.2.4\nwww 60 IN A 10.1.2.3\n' >"$1/zone"; }
dns() { echo "dig +tries=1 +time=3 +short -p $P @127.0.0.1 www.test.example | grep -qx 10.1.2.3 && dig +tcp +tries=1 +time=3 +short -p $P @127.0.0.1 www.test.example | grep -qx 10.1.2.3"; }

# setup NAME: files in D, the command in CMD, what uses it in USE, who runs it in AS if not root may; its port is P.
setup() {
	AS=()
	mkdir -p "$D/pub" && echo found >"$D/pub/file" && chmod 755 "$D" "$D/pub"
	case $1 in
	dnsmasq)
		CMD=(dnsmasq -k -C /dev/null -p "$P" --listen-address=127.0.0.1 --bind-interfaces --no-resolv --no-hosts --address=/www.test.example/10.1.2.3 --user=root --pid-file="$D/pid")
		USE=$(dns) ;;
	haproxy)
		printf 'global\n  maxconn 64\ndefaults\n  mode http\n  timeout client 5s\n  timeout server 5s\n  timeout connect 5s\nfrontend f\n  bind 127.0.0.1:%d\n  http-request return status 200 content-type text/plain string found\n' "$P" >"$D/conf"
		CMD=(haproxy -db -f "$D/conf") USE="curl -sfm 5 http://127.0.0.1:$P/ | grep -q found" ;;
	vsftpd)
		mkdir "$D/empty"
		printf '%s\n' listen=YES background=NO "listen_port=$P" listen_address=127.0.0.1 anonymous_enable=YES "anon_root=$D/pub" "secure_chroot_dir=$D/empty" local_enable=NO no_anon_password=YES >"$D/conf"
		CMD=(vsftpd "$D/conf") USE="curl -sfm 8 ftp://127.0.0.1:$P/file | grep -q found" ;;
	proftpd)
		printf '%s\n' 'ServerName t' 'ServerType standalone' "Port $P" 'DefaultAddress 127.0.0.1' 'UseIPv6 off' 'User nobody' 'Group nogroup' "PidFile $D/pid" "ScoreboardFile $D/score" 'WtmpLog off' "TransferLog none" "SystemLog $D/log" \
			"<Anonymous $D/pub>" 'User nobody' 'Group nogroup' 'UserAlias anonymous nobody' 'RequireValidShell off' '</Anonymous>' >"$D/conf"
		CMD=(proftpd -n -c "$D/conf") USE="curl -sfm 8 ftp://127.0.0.1:$P/file | grep -q found" ;;
	mosquitto)
		printf 'listener %d 127.0.0.1\nallow_anonymous true\nuser root\n' "$P" >"$D/conf"
		CMD=(mosquitto -c "$D/conf")
		USE="python3 -c 'import socket
s=socket.create_connection((\"127.0.0.1\",$P),5); s.settimeout(5)
s.sendall(bytes.fromhex(\"100d00044d5154540402003c000161\")); assert s.recv(4)==bytes([32,2,0,0])
s.sendall(bytes.fromhex(\"82060001000161\")+b\"\\0\"); assert s.recv(5)[0]==0x90
s.sendall(bytes.fromhex(\"3005000161\")+b\"hi\"); assert s.recv(16)[-2:]==b\"hi\"'" ;;
	unbound)
		printf '%s\n' server: 'chroot: ""' 'username: ""' "port: $P" 'interface: 127.0.0.1' "directory: $D" "pidfile: $D/pid" 'use-syslog: no' 'do-daemonize: no' 'local-zone: "test.example." static' 'local-data: "www.test.example. A 10.1.2.3"' remote-control: 'control-enable: no' >"$D/conf"
		CMD=(unbound -d -c "$D/conf") USE=$(dns) ;;
	knotd)
		zone "$D"
		printf '%s\n' server: "  rundir: $D" "  listen: 127.0.0.1@$P" database: "  storage: $D/db" zone: '  - domain: test.example' "    file: $D/zone" >"$D/conf"
		CMD=(knotd -c "$D/conf") USE=$(dns) ;;
	nsd)
		zone "$D"
		printf '%s\n' server: "  ip-address: 127.0.0.1@$P" '  username: ""' "  zonesdir: $D" "  database: \"\"" "  pidfile: $D/pid" "  xfrdfile: $D/xfrd" "  zonelistfile: $D/zones" "  xfrdir: $D" remote-control: '  control-enable: no' zone: '  name: test.example' "  zonefile: $D/zone" >"$D/conf"
		CMD=(nsd -d -c "$D/conf") USE=$(dns) ;;
	sshd)
		mkdir -p /run/sshd
		ssh-keygen -qt ed25519 -N '' -f "$D/host" && ssh-keygen -qt ed25519 -N '' -f "$D/user" && cp "$D/user.pub" "$D/keys" && chmod 600 "$D/keys"
		printf '%s\n' "Port $P" 'ListenAddress 127.0.0.1' "HostKey $D/host" "AuthorizedKeysFile $D/keys" "PidFile $D/pid" 'StrictModes no' 'UsePAM no' 'PermitRootLogin yes' 'Subsystem sftp internal-sftp' >"$D/conf"
		CMD=("$(command -v sshd)" -D -e -f "$D/conf")
		USE="ssh -qnp $P -i $D/user -o StrictHostKeyChecking=no -o UserKnownHostsFile=$D/known -o ConnectTimeout=8 root@127.0.0.1 echo found | grep -q found" ;;
	dropbear)
		dropbearkey -t ed25519 -f "$D/host" >/dev/null 2>&1
		CMD=(dropbear -F -E -p "127.0.0.1:$P" -r "$D/host" -P "$D/pid") USE="ssh-keyscan -T 5 -p $P 127.0.0.1 2>/dev/null | grep -q ssh-ed25519" ;;
	tinyproxy)
		printf 'Port %d\nListen 127.0.0.1\nTimeout 30\nMaxClients 10\nStatHost "proxy.stats"\n' "$P" >"$D/conf"
		CMD=(tinyproxy -d -c "$D/conf") USE="curl -sfm 5 -x http://127.0.0.1:$P http://proxy.stats/ | grep -qi tinyproxy" ;;
	stunnel)
		certificate "$D"
		printf 'foreground = yes\npid = %s/pid\n[t]\naccept = 127.0.0.1:%d\nexec = /bin/echo\nexecArgs = echo found\ncert = %s/both.pem\n' "$D" "$P" "$D" >"$D/conf"
		CMD=("$(command -v stunnel4 || command -v stunnel)" "$D/conf") USE="timeout 8 openssl s_client -quiet -connect 127.0.0.1:$P </dev/null 2>/dev/null | grep -q found" ;;
	varnishd)
		printf 'vcl 4.1;\nbackend default none;\nsub vcl_recv { return (synth(200, "found")); }\n' >"$D/vcl"
		mkdir "$D/work"
		CMD=(varnishd -F -n "$D/work" -a "127.0.0.1:$P" -f "$D/vcl" -j none -T none) USE="curl -sfm 8 http://127.0.0.1:$P/ | grep -q found" ;;
	mini_httpd)
		CMD=(mini_httpd -D -h 127.0.0.1 -p "$P" -d "$D/pub" -u root -i "$D/pid") USE="curl -sfm 5 http://127.0.0.1:$P/file | grep -q found" ;;
	privoxy)
		printf 'listen-address 127.0.0.1:%d\nconfdir /etc/privoxy\nlogdir %s\n' "$P" "$D" >"$D/conf"
		CMD=(privoxy --no-daemon "$D/conf") USE="curl -sfm 5 -x http://127.0.0.1:$P http://p.p/ | grep -qi privoxy" ;;
	ngircd)
		printf '[Global]\nName = irc.test.example\nInfo = t\nListen = 127.0.0.1\nPorts = %d\nServerUID = root\nServerGID = root\n[Limits]\nMaxConnectionsIP = 0\n[Options]\nDNS = no\nIdent = no\nPAM = no\n' "$P" >"$D/conf"
		CMD=(ngircd -n -f "$D/conf")
		USE="python3 -c 'import os, socket
s=socket.create_connection((\"127.0.0.1\",$P),5); s.settimeout(8); s.sendall(b\"NICK n%d\\r\\nUSER u 0 * :r\\r\\n\" % os.getpid()); t=b\"\"
while b\" 001 \" not in t:
  x=s.recv(999); assert x; t+=x
  if b\"PING\" in x: s.sendall(b\"PONG\"+x.split(b\"PING\")[1])'" ;;
	squid)
		printf 'http_port 127.0.0.1:%d\npid_filename %s/pid\naccess_log none\ncache_log %s/log\ncache_effective_user proxy\ncoredump_dir %s\nhttp_access allow all\nvisible_hostname t\nnetdb_filename none\npinger_enable off\n' "$P" "$D" "$D" "$D" >"$D/conf"
		chown proxy "$D"
		CMD=(squid -n "t$P" -N -f "$D/conf") USE="curl -sm 8 -o $D/page -w '%{http_code}' -x http://127.0.0.1:$P http://127.0.0.1:1/ | grep -q 503" ;;
	rsync)
		printf 'port = %d\naddress = 127.0.0.1\nuse chroot = yes\npid file = %s/pid\nlog file = %s/log\n[pub]\npath = %s/pub\n' "$P" "$D" "$D" "$D" >"$D/conf"
		CMD=(rsync --daemon --no-detach --config="$D/conf")
		USE="rm -rf $D/got && rsync -aq --timeout=8 rsync://127.0.0.1:$P/pub/ $D/got && grep -q found $D/got/file" ;;
	php-fpm*)
		printf '<?php $p = popen("echo found", "r"); echo fgets($p);' >"$D/pub/f.php"
		printf '[global]\nerror_log = %s/log\npid = %s/pid\n[www]\nlisten = 127.0.0.1:%d\nuser = nobody\ngroup = nogroup\npm = dynamic\npm.max_children = 4\npm.start_servers = 2\npm.min_spare_servers = 1\npm.max_spare_servers = 2\n' "$D" "$D" "$P" >"$D/conf"
		CMD=("$1" -F -O -n -y "$D/conf")
		USE="python3 -c 'import socket, struct
def rec(t, b): return struct.pack(\">BBHHBB\", 1, t, 1, len(b), 0, 0) + b
v = {\"SCRIPT_FILENAME\": \"$D/pub/f.php\", \"REQUEST_METHOD\": \"GET\", \"SERVER_PROTOCOL\": \"HTTP/1.1\"}
s = socket.create_connection((\"127.0.0.1\", $P), 5); s.settimeout(8)
s.sendall(rec(1, b\"\\0\\1\\0\\0\\0\\0\\0\\0\") + rec(4, b\"\".join(bytes([len(k), len(x)]) + k.encode() + x.encode() for k, x in v.items())) + rec(4, b\"\") + rec(5, b\"\"))
t = b\"\"
while x := s.recv(9999): t += x
assert b\"found\" in t'" ;;
	mariadbd)
		mariadb-install-db --no-defaults --user=root --datadir="$D/data" >/dev/null 2>&1
		CMD=(mariadbd --no-defaults --user=root --datadir="$D/data" --bind-address=127.0.0.1 --port="$P" --socket="$D/sock" --pid-file="$D/pid")
		USE="mariadb --no-defaults -S $D/sock -e 'create database if not exists t; create or replace table t.t (x int) engine=innodb; insert into t.t values (4242); select sum(x) from t.t; show status; drop table t.t' | grep -q 4242" ;;
	postgres)
		chown postgres "$D"
		AS=(setpriv --reuid=postgres --regid=postgres --clear-groups)
		"${AS[@]}" initdb -D "$D/data" -A trust >/dev/null
		CMD=(postgres -D "$D/data" -p "$P" -h 127.0.0.1 -k "$D")
		USE="psql -h 127.0.0.1 -p $P -U postgres -Atc 'drop table if exists t; create table t as select g x from generate_series(1, 50000) g; create index on t (x); select count(*) from t; vacuum t; checkpoint' | grep -qx 50000" ;;
	pdns_server)
		zone "$D"
		printf 'zone "test.example" { type native; file "%s/zone"; };\n' "$D" >"$D/named.conf"
		CMD=(pdns_server --config-dir="$D" --launch=bind --bind-config="$D/named.conf" --local-address=127.0.0.1 --local-port="$P" --socket-dir="$D" --daemon=no --guardian=no)
		USE=$(dns) ;;
	webfsd)
		CMD=(webfsd -F -i 127.0.0.1 -p "$P" -r "$D/pub" -u nobody -g nogroup) USE="curl -sfm 5 http://127.0.0.1:$P/file | grep -q found" ;;
	beanstalkd)
		mkdir "$D/log"
		CMD=(beanstalkd -l 127.0.0.1 -p "$P" -b "$D/log")
		USE="python3 -c 'import socket
s = socket.create_connection((\"127.0.0.1\", $P), 5); s.settimeout(5)
s.sendall(b\"put 0 0 9 5\\r\\nfound\\r\\nreserve-with-timeout 3\\r\\n\"); t = b\"\"
while b\"found\" not in t:
  x = s.recv(999); assert x; t += x
s.sendall(b\"delete \" + t.split(b\"RESERVED \")[1].split()[0] + b\"\\r\\n\"); assert b\"DELETED\" in s.recv(999)'" ;;
	nghttpx)
		python3 -m http.server -b 127.0.0.1 -d "$D/pub" $((P + 500)) >/dev/null 2>&1 &
		behind=$!
		CMD=(nghttpx "-f127.0.0.1,$P;no-tls" "-b127.0.0.1,$((P + 500))" --errorlog-file="$D/log" --accesslog-file=/dev/null --conf=/dev/null)
		USE="curl -sfm 5 http://127.0.0.1:$P/file | grep -q found" ;;
	turnserver)
		CMD=(turnserver -n -L 127.0.0.1 -p "$P" --no-tls --no-dtls --no-cli -z --pidfile "$D/pid" -l stdout --simple-log)
		USE="timeout 3 turnutils_stunclient -p $P 127.0.0.1 | grep -q 'reflexive addr: 127.0.0.1'" ;;
	*) return 1 ;;
	esac
}
# used: whether USE works, within twenty seconds from now.
used() {
	local i
	for i in $(seq 40); do
		bash -c "$USE" >/dev/null 2>&1 && return
		sleep 0.5
	done
	return 1
}
# filtered: whether a thread of process MAIN or below it carries a filter, within thirty seconds.
filtered() {
	local i p
	for i in $(seq 60); do
		for p in "$main" $(pgrep -P "$main"); do grep -qs '^Seccomp:.*2' /proc/"$p"/task/*/status && return; done
		sleep 0.5
	done
	return 1
}
printf '| server | version | kinds | calls open | uses passed | remarks |\n|---|---|---|---|---|---|\n'
bad=0 missing=
for name in "$@"; do
	P=$((PORT++)) D=$T/$name
	program=$name
	[ "$name" != stunnel ] || program=stunnel4
	command -v "$program" >/dev/null || { missing="$missing $name"; continue; }
	setup "$name" || { echo "others: $name: not known" >&2; exit 1; }
	version=$(dpkg-query -W -f '${Version}' "$(dpkg -S "$(realpath "$(command -v "$program")")" 2>/dev/null | cut -d: -f1)" 2>/dev/null)
	log=$OUT/$name.log profile=$OUT/$name.json
	: >"$log"
	rm -f "$profile"
	echo "$USE" >"$D/use"
	# Ten uses, so that what serves is seen while it serves; the first waits until the server listens.
	printf '%s\n' "for i in \$(seq 40); do bash $D/use && break; sleep 0.5; done" "for i in 1 2 3 4 5 6 7 8 9; do bash $D/use || exit 1; sleep 0.2; done" >"$D/work.sh"
	remark= kinds=- open=- passed=0
	timeout -k 10 400 "${AS[@]}" "$SYSPART" profile -o "$D/profile" --workload "bash $D/work.sh" -- "${CMD[@]}" >>"$log" 2>&1
	[ ! -s "$D/profile" ] || cp "$D/profile" "$profile"
	if [ ! -s "$profile" ]; then
		remark="no profile: $(tail -1 "$log" | cut -c1-120)"
	else
		read -r kinds open < <(python3 -c 'import json, sys
k = json.load(open(sys.argv[1]))["threads"]
n = [len(set(sum((x["serving"][y] or [] for y in ("own", "exec", "enforcer")), []))) for x in k]
print(len(k), min(n) if min(n) == max(n) else "%d-%d" % (min(n), max(n)))' "$profile" 2>>"$log" || echo "- -")
		"${AS[@]}" "$SYSPART" run -p "$D/profile" -- "${CMD[@]}" >>"$log" 2>&1 &
		main=$!
		used && filtered || remark="no filter seen"
		for i in 1 2 3; do used && passed=$((passed + 1)); done
		kill -0 "$main" 2>/dev/null || remark="the server has ended"
		dmesg 2>/dev/null | grep -q "audit.*comm=\"$name\".*syscall" && remark="$remark denied call in the kernel's log"
		kill "$main" 2>/dev/null
		for i in $(seq 40); do kill -0 "$main" 2>/dev/null || break; sleep 0.25; done
		kill -9 "$main" 2>/dev/null
		wait "$main" 2>/dev/null
		main=
	fi
	[ -z "$behind" ] || { kill "$behind" && wait "$behind"; behind=; } 2>/dev/null
	[ "$passed" = 3 ] && [ -z "$remark" ] || bad=1
	echo "| $name | $version | $kinds | $open | $passed of 3 | $remark |"
done
[ -z "$missing" ] || echo "others: not installed:$missing" >&2
exit "$bad"
