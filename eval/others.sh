#!/bin/bash
# others.sh [NAME...]: servers of Debian that nothing here was made for. Each is set up in an empty directory on loopback,
# profiled while it is used, started behind its filters under kill-process, and used again, three times. A table goes to
# standard output: the kinds of threads with a main loop, how many calls are open to them (least and most), whether each use
# passed, and what is wrong if something is: also a call that was denied as late as when SIGTERM ends the server. Threads that
# get no filter are only told. Profiles and logs are kept in OUT (default out/others). Status 0: all passed.
# Needs root; a server that is not installed is left out and named.
set -u
here=$(cd "$(dirname "$0")" && pwd)
SYSPART=$(realpath -m "${SYSPART:-$here/../bin/syspart}")
OUT=$(realpath -m "${OUT:-$here/../out/others}")
PORT=${PORT:-24000}
export LC_ALL=C PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin:/usr/games:/usr/lib/postfix/sbin:/usr/lib/git-core:$(echo /usr/lib/postgresql/*/bin)
[ -x "$SYSPART" ] || { echo "others: $SYSPART is missing; make build" >&2; exit 1; }
[ $# -gt 0 ] || set -- dnsmasq haproxy vsftpd proftpd mosquitto unbound knotd nsd sshd dropbear tinyproxy stunnel varnishd mini_httpd privoxy ngircd squid \
	rsync php-fpm8.2 mariadbd postgres pdns_server webfsd beanstalkd nghttpx turnserver exim4 dovecot slapd h2o icecast2 snmpd chronyd tor \
	transmission-daemon gunicorn uwsgi-core puma etcd prometheus caddy \
	inspircd prosody smbd cupsd node python3 \
	dnsdist traffic_server hitch sniproxy danted ss-server pgbouncer pgpool webdis ncat socat inetd openvpn znc bitlbee wesnothd-1.16 \
	rmiregistry mono erl swipl guile php8.2 tarantool unison nats-server syncthing docker-registry sccache \
	rsyslogd dbus-daemon pdns_recursor kresd gdnsd kea-ctrl-agent freeradius iperf3 pure-ftpd in.tftpd fcgiwrap monit nbdkit nbd-server qemu-nbd swtpm clamd \
	ser2net Xvfb master svnserve git-daemon distccd kamailio bird opendkim gpsd owserver saslauthd ssh-agent ocserv collectd zabbix_agentd
mkdir -p "$OUT"
T=$(mktemp -d) && chmod 755 "$T" || exit 1
main= behind=
trap 'for p in $main $behind; do kill "$p" 2>/dev/null; done; rm -rf "$T"' EXIT

. "$here/others/setup.sh"
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
# denials: how many denied calls of the program that is profiled the kernel's log has.
denials() { dmesg 2>/dev/null | grep -c "type=1326.* exe=\"$exe\""; }
printf '| server | version | kinds | calls open | uses passed | remarks |\n|---|---|---|---|---|---|\n'
bad=0 missing=
for name in "$@"; do
	P=$((PORT++)) D=$T/$name
	program=$name
	[ "$name" != stunnel ] || program=stunnel4
	command -v "$program" >/dev/null || { missing="$missing $name"; continue; }
	setup "$name" || { echo "others: $name: not known" >&2; exit 1; }
	file=$(realpath "$(command -v "$program")")
	version=$(dpkg-query -W -f '${Version}' "$({ dpkg -S "$file" || dpkg -S "${file#/usr}"; } 2>/dev/null | cut -d: -f1)" 2>/dev/null)
	log=$OUT/$name.log profile=$OUT/$name.json
	: >"$log"
	rm -f "$profile"
	echo "$USE" >"$D/use"
	# Ten uses, so that what serves is seen while it serves; the first waits until the server listens.
	printf '%s\n' "for i in \$(seq 40); do bash $D/use && break; sleep 0.5; done" "for i in 1 2 3 4 5 6 7 8 9; do bash $D/use || exit 1; sleep 0.2; done" >"$D/work.sh"
	remark= kinds=- open=- passed=0 dark=0
	timeout -k 10 400 "${AS[@]}" "$SYSPART" profile -o "$D/profile" --workload "bash $D/work.sh" -- "${CMD[@]}" >>"$log" 2>&1
	[ ! -s "$D/profile" ] || cp "$D/profile" "$profile"
	if [ ! -s "$profile" ]; then
		remark="no profile: $(tail -1 "$log" | cut -c1-120)"
	else
		read -r kinds open exe dark < <(python3 -c 'import json, sys
p = json.load(open(sys.argv[1])); k = p["threads"]
n = [len(set(sum((x["serving"][y] or [] for y in ("own", "exec", "enforcer")), []))) for x in k]
print(len(k), min(n) if min(n) == max(n) else "%d-%d" % (min(n), max(n)), p["program"]["path"], sum(int(u["effect"].split()[0]) for u in p["unresolved"] if u["what"] == "thread"))' "$profile" 2>>"$log" || echo "- -")
		before=$(denials)
		setsid "${AS[@]}" "$SYSPART" run -p "$D/profile" -- "${CMD[@]}" >>"$log" 2>&1 &
		main=$!
		used && filtered || remark="no filter seen"
		for i in 1 2 3; do used && passed=$((passed + 1)); done
		kill -0 "$main" 2>/dev/null || remark="the server has ended"
		kill "$main" 2>/dev/null
		for i in $(seq 40); do kill -0 "$main" 2>/dev/null || break; sleep 0.25; done
		kill -9 "$main" 2>/dev/null
		wait "$main" 2>/dev/null
		[ $? != 159 ] && [ "$(denials)" = "$before" ] || remark="$remark; a call was denied"
		main=
	fi
	[ -z "$behind" ] || { kill "$behind" && wait "$behind"; behind=; } 2>/dev/null
	[ "$passed" = 3 ] && [ -z "$remark" ] || bad=1
	[ "${dark:-0}" = 0 ] || remark="$remark; threads without filter, as their stacks cannot be read: $dark"
	echo "| $name | $version | $kinds | $open | $passed of 3 | ${remark#; } |"
done
[ -z "$missing" ] || echo "others: not installed:$missing" >&2
exit "$bad"
