# Sourced by setup.sh: files, names, logs and what else one machine does for others.

# blocks: USE of a network block device at P, whose name is $1.
blocks() { echo "qemu-io -f raw -c 'write -P 66 0 4k' -c flush -c 'read -P 66 0 4k' nbd://127.0.0.1:$P/$1 2>&1 | grep -q 'read 4096/4096'"; }

services() {
	case $1 in
	rsyslogd)
		printf 'module(load="imtcp")\ninput(type="imtcp" address="127.0.0.1" port="%d")\ntemplate(name="t" type="string" string="%%rawmsg%%\\n")\n*.* action(type="omfile" file="%s/log" template="t")\n' "$P" "$D" >"$D/conf"
		CMD=(rsyslogd -n -f "$D/conf" -i "$D/pid") USE="n=\$RANDOM\$RANDOM; echo \"<13>t: found \$n\" >/dev/tcp/127.0.0.1/$P; for i in \$(seq 30); do grep -q \"found \$n\" $D/log && exit; sleep 0.1; done; exit 1" ;;
	dbus-daemon)
		printf '[D-BUS Service]\nName=t.example\nExec=/bin/false\n' >"$D/pub/t.example.service"
		printf '<busconfig><type>session</type><listen>unix:path=%s/sock</listen><auth>EXTERNAL</auth><servicedir>%s/pub</servicedir><policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy></busconfig>\n' "$D" "$D" >"$D/conf"
		CMD=(dbus-daemon --config-file="$D/conf" --nofork --nopidfile)
		USE="b='dbus-send --bus=unix:path=$D/sock --print-reply --dest=org.freedesktop.DBus / org.freedesktop.DBus.'; \${b}ListNames | grep -q org.freedesktop.DBus && \${b}StartServiceByName string:t.example uint32:0 2>&1 | grep -q 'exited with status 1'" ;;
	pdns_recursor)
		zone "$D"
		printf '. 60 IN NS ns.\nns. 60 IN A 127.0.0.1\n' >"$D/hints"
		CMD=(pdns_recursor --config-dir="$D" --local-address=127.0.0.1 --local-port="$P" --socket-dir="$D" --daemon=no --threads=2 --auth-zones="test.example=$D/zone" --hint-file="$D/hints" --query-local-address=127.0.0.1 --security-poll-suffix=)
		USE=$(dns) ;;
	kresd)
		printf '%s\n' "net.listen('127.0.0.1', $P)" "modules.unload('priming')" "modules.unload('ta_update')" "modules.unload('ta_signal_query')" "trust_anchors.remove('.')" "net.outgoing_v4('127.0.0.1')" "modules.load('hints > iterate')" "hints['www.test.example'] = '10.1.2.3'" >"$D/conf"
		CMD=(kresd -n -c "$D/conf" "$D") USE=$(dns) ;;
	gdnsd)
		mkdir -p "$D/etc/zones" && zone "$D" && sed 's/^\$ORIGIN.*//; s/ 60 IN / 60 /; s/SOA ns host/SOA ns host/' "$D/zone" >"$D/etc/zones/test.example"
		printf 'options => { listen => 127.0.0.1:%d, run_dir => "%s/run", state_dir => "%s/state" }\n' "$P" "$D" "$D" >"$D/etc/config"
		CMD=(gdnsd -c "$D/etc" start) USE=$(dns) ;;
	kea-ctrl-agent)
		printf '{"Control-agent": {"http-host": "127.0.0.1", "http-port": %d, "loggers": [{"name": "kea-ctrl-agent", "severity": "INFO", "output_options": [{"output": "%s/log"}]}]}}\n' "$P" "$D" >"$D/conf"
		CMD=(env "KEA_PIDFILE_DIR=$D" "KEA_LOCKFILE_DIR=$D" kea-ctrl-agent -c "$D/conf") USE="curl -sfm 5 -H 'Content-Type: application/json' -d '{\"command\": \"list-commands\"}' http://127.0.0.1:$P/ | grep -q config-get" ;;
	freeradius)
		cp -r /etc/freeradius/3.0 "$D/etc" && rm -f "$D"/etc/sites-enabled/* "$D"/etc/mods-enabled/eap
		printf 'client l {\n  ipaddr = 127.0.0.1\n  secret = x\n}\n' >"$D/etc/clients.conf"
		printf 'u Cleartext-Password := "found"\n' >"$D/etc/mods-config/files/authorize"
		printf 'server t {\n  listen {\n    type = auth\n    ipaddr = 127.0.0.1\n    port = %d\n  }\n  authorize {\n    files\n    pap\n  }\n  authenticate {\n    pap\n  }\n}\n' "$P" >"$D/etc/sites-enabled/t"
		sed -i -E "s,^(logdir|run_dir|radacctdir) = .*,\\1 = $D,; s,^(\\s*)(user|group) = freerad,\\1\\2 = root,; s,pidfile = .*,pidfile = $D/pid," "$D/etc/radiusd.conf"
		CMD=(freeradius -f -d "$D/etc" -l "$D/log")
		USE="python3 -c 'import hashlib, os, socket
a = os.urandom(16); p = bytes(x ^ y for x, y in zip(b\"found\".ljust(16, b\"\\0\"), hashlib.md5(b\"x\" + a).digest()))
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(5); s.connect((\"127.0.0.1\", $P))
s.send(bytes([1, a[0], 0, 41]) + a + b\"\\1\\3u\" + b\"\\2\\x12\" + p); assert s.recv(999)[0] == 2'" ;;
	iperf3) CMD=(iperf3 -s -B 127.0.0.1 -p "$P") USE="iperf3 -c 127.0.0.1 -p $P -n 1M -J | grep -q bits_per_second && iperf3 -u -c 127.0.0.1 -p $P -n 100K -J | grep -q bits_per_second" ;;
	pure-ftpd)
		printf 'found\nfound\n' | pure-pw useradd u -f "$D/users" -F "$D/users.pdb" -u nobody -g nogroup -d "$D/pub" -m >/dev/null
		CMD=(pure-ftpd -S "127.0.0.1,$P" -l "puredb:$D/users.pdb" -A -E -u 1 -g "$D/pid") USE="curl -sfm 8 -u u:found ftp://127.0.0.1:$P/file | grep -q found" ;;
	in.tftpd) CMD=(in.tftpd -L -s "$D/pub" -a "127.0.0.1:$P" -u nobody) USE="curl -sfm 8 tftp://127.0.0.1:$P/file | grep -q found" ;;
	fcgiwrap)
		printf '#!/bin/sh\nprintf "Content-Type: text/plain\\r\\n\\r\\n"\necho found\n' >"$D/pub/f.cgi" && chmod +x "$D/pub/f.cgi"
		CMD=(sh -c "rm -f $D/sock; exec fcgiwrap -s unix:$D/sock") USE=$(fastcgi f.cgi "$D/sock") ;;
	monit)
		printf 'set daemon 1\nset logfile %s/log\nset pidfile %s/pid\nset idfile %s/id\nset statefile %s/state\nset httpd port %d and\n use address 127.0.0.1\n allow a:x\ncheck program found with path /bin/true\n if status != 0 then alert\ncheck file f with path %s/pub/file\n' "$D" "$D" "$D" "$D" "$P" "$D" >"$D/conf" && chmod 600 "$D/conf"
		CMD=(monit -I -c "$D/conf") USE="curl -sfm 5 -u a:x http://127.0.0.1:$P/_status | grep -q found" ;;
	nbdkit) CMD=(nbdkit -f -i 127.0.0.1 -p "$P" memory 1M) USE=$(blocks '') ;;
	nbd-server)
		truncate -s 1M "$D/disk"
		printf '[generic]\n listenaddr = 127.0.0.1\n port = %d\n[t]\n exportname = %s/disk\n' "$P" "$D" >"$D/conf"
		CMD=(nbd-server -C "$D/conf" -p "$D/pid") USE=$(blocks t) ;;
	qemu-nbd)
		truncate -s 1M "$D/disk"
		CMD=(qemu-nbd -t -f raw -b 127.0.0.1 -p "$P" "$D/disk") USE=$(blocks '') ;;
	swtpm)
		mkdir "$D/tpm"
		CMD=(swtpm socket --tpm2 --tpmstate "dir=$D/tpm" --server "type=tcp,port=$P,bindaddr=127.0.0.1" --ctrl "type=unixio,path=$D/ctrl" --flags not-need-init,startup-clear --seccomp action=none) # its own filter lets nobody call prctl
		USE="python3 -c 'import socket
s = socket.create_connection((\"127.0.0.1\", $P), 5); s.settimeout(8)
s.sendall(bytes.fromhex(\"80010000000c0000017b0008\")); assert len(s.recv(99)) == 20'" ;;
	clamd)
		mkdir "$D/db" && echo found >"$D/pub/bad" && printf '%s:6:Found\n' "$(md5sum <"$D/pub/bad" | cut -d' ' -f1)" >"$D/db/t.hdb"
		printf 'DatabaseDirectory %s/db\nTCPSocket %d\nTCPAddr 127.0.0.1\nForeground yes\nUser root\nSelfCheck 5\n' "$D" "$P" >"$D/conf"
		CMD=(clamd -c "$D/conf") USE="exec 3<>/dev/tcp/127.0.0.1/$P && echo nSCAN $D/pub/bad >&3 && timeout 8 head -1 <&3 | grep -q FOUND" ;;
	ser2net)
		printf 'connection: &c\n  accepter: tcp,127.0.0.1,%d\n  connector: stdio,/bin/cat\n  options:\n    kickolduser: true\n' "$P" >"$D/conf.yaml"
		CMD=(ser2net -n -c "$D/conf.yaml") USE="exec 3<>/dev/tcp/127.0.0.1/$P && echo found >&3 && timeout 5 head -1 <&3 | grep -q found" ;;
	Xvfb)
		CMD=(Xvfb ":$((P - 6000))" -nolock -listen tcp -nolisten unix -nolisten local -ac -screen 0 64x64x24)
		USE="python3 -c 'import socket, struct
s = socket.create_connection((\"127.0.0.1\", $P), 5); s.settimeout(8)
s.sendall(b\"l\\0\\x0b\\0\\0\\0\\0\\0\\0\\0\\0\\0\"); t = s.recv(8); assert t[0] == 1
n = 4 * struct.unpack(\"<H\", t[6:8])[0]
while n > 0: n -= len(s.recv(n))
s.sendall(struct.pack(\"<BBH\", 43, 0, 1)); assert s.recv(32)[0] == 1'" ;;
	master)
		mkdir "$D/etc" "$D/queue" "$D/lib" && chown postfix "$D/lib"
		printf '%s\n' compatibility_level=3.6 "queue_directory = $D/queue" "data_directory = $D/lib" 'mail_owner = postfix' 'setgid_group = postdrop' 'inet_interfaces = 127.0.0.1' 'inet_protocols = ipv4' 'myhostname = t.example' 'mydestination = t.example' 'alias_maps =' 'alias_database =' 'local_recipient_maps =' 'default_transport = discard' 'local_transport = discard' 'mynetworks = 127.0.0.0/8' "maillog_file = $D/log" "maillog_file_prefixes = $D" >"$D/etc/main.cf"
		printf '%s\n' "127.0.0.1:$P inet n - n - - smtpd" 'cleanup unix n - n - 0 cleanup' 'qmgr unix n - n 300 1 qmgr' 'rewrite unix - - n - - trivial-rewrite' 'bounce unix - - n - 0 bounce' 'defer unix - - n - 0 bounce' 'trace unix - - n - 0 bounce' 'discard unix - - n - - discard' 'tlsmgr unix - - n 1000? 1 tlsmgr' 'proxymap unix - - n - - proxymap' 'anvil unix - - n - 1 anvil' 'postlog unix-dgram n - n - 1 postlogd' 'flush unix n - n 1000? 0 flush' 'showq unix n - n - - showq' 'error unix - - n - - error' >"$D/etc/master.cf"
		postfix -c "$D/etc" check >/dev/null 2>&1
		CMD=(env "MAIL_CONFIG=$D/etc" /usr/lib/postfix/sbin/master -c "$D/etc" -d)
		USE="python3 -c 'import smtplib
s=smtplib.SMTP(\"127.0.0.1\",$P,timeout=8); s.sendmail(\"a@t.example\",[\"b@t.example\"],\"Subject: x\\n\\nfound\\n\"); s.quit()'" ;;
	svnserve)
		svnadmin create "$D/repo" && svn import -qm t "$D/pub" "file://$D/repo"
		CMD=(svnserve -d --foreground --listen-host 127.0.0.1 --listen-port "$P" -r "$D") USE="svn cat --non-interactive svn://127.0.0.1:$P/repo/file | grep -q found" ;;
	git-daemon)
		git init -q "$D/repo" && cp "$D/pub/file" "$D/repo" && git -C "$D/repo" add file && git -C "$D/repo" -c user.name=t -c user.email=t@t.example commit -qm t
		CMD=(git-daemon --listen=127.0.0.1 --port="$P" --base-path="$D" --export-all --reuseaddr) USE="rm -rf $D/got && git clone -q git://127.0.0.1:$P/repo $D/got && grep -q found $D/got/file" ;;
	distccd)
		printf 'int main(void) { return 0; }\n' >"$D/x.c"
		CMD=(distccd --daemon --no-detach --listen 127.0.0.1 -p "$P" --allow 127.0.0.1 --log-stderr -j 2 --user nobody --enable-tcp-insecure)
		USE="cd $D && rm -f x.o && DISTCC_DIR=$D DISTCC_BACKOFF_PERIOD=0 DISTCC_HOSTS=127.0.0.1:$P DISTCC_FALLBACK=0 distcc gcc -c x.c -o x.o && test -s x.o" ;;
	kamailio)
		printf '%s\n' '#!KAMAILIO' children=2 disable_tcp=yes auto_aliases=no "listen=udp:127.0.0.1:$P" 'mpath="/usr/lib/x86_64-linux-gnu/kamailio/modules/"' 'loadmodule "sl.so"' 'loadmodule "pv.so"' 'request_route { sl_send_reply("200", "found"); }' >"$D/conf"
		CMD=(kamailio -DD -E -f "$D/conf" -m 16 -M 4 -Y "$D" -P "$D/pid")
		USE="python3 -c 'import os, socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(5); s.connect((\"127.0.0.1\", $P)); p = s.getsockname()[1]
s.send((\"OPTIONS sip:a@127.0.0.1 SIP/2.0\\r\\nVia: SIP/2.0/UDP 127.0.0.1:%d;branch=z9hG4bK%d\\r\\nFrom: <sip:b@127.0.0.1>;tag=x\\r\\nTo: <sip:a@127.0.0.1>\\r\\nCall-ID: %d\\r\\nCSeq: 1 OPTIONS\\r\\nMax-Forwards: 9\\r\\nContent-Length: 0\\r\\n\\r\\n\" % (p, os.getpid(), os.getpid())).encode())
assert b\"200 found\" in s.recv(9999)'" ;;
	bird)
		printf 'router id 10.1.2.3;\nprotocol device {}\nprotocol static { ipv4; route 10.9.0.0/16 blackhole; }\n' >"$D/conf"
		CMD=(bird -f -c "$D/conf" -s "$D/sock" -P "$D/pid") USE="birdc -s $D/sock show route | grep -q 10.9.0.0/16" ;;
	opendkim)
		printf 'Socket inet:%d@127.0.0.1\nMode v\nSyslog no\nBackground no\nUserID root\nPidFile %s/pid\nNameservers 127.0.0.1\nTrustAnchorFile /dev/null\n' "$P" "$D" >"$D/conf"
		CMD=(opendkim -f -x "$D/conf")
		USE="python3 -c 'import socket, struct
s = socket.create_connection((\"127.0.0.1\", $P), 5); s.settimeout(8)
def ask(b):
  s.sendall(struct.pack(\">I\", len(b)) + b); n = struct.unpack(\">I\", s.recv(4))[0]; return s.recv(n)
assert ask(b\"O\" + struct.pack(\">III\", 6, 0x1ff, 0))[:1] == b\"O\"
assert ask(b\"Ct.example\\x004\\0\\x19127.0.0.1\\0\")[:1] == b\"c\"
assert ask(b\"M<a@t.example>\\0\")[:1] in b\"ca\"'" ;;
	gpsd)
		CMD=(gpsd -N -n -S "$P" -F "$D/ctl") USE="exec 3<>/dev/tcp/127.0.0.1/$P && timeout 5 head -1 <&3 | grep -q VERSION" ;;
	owserver)
		CMD=(owserver --foreground --fake=10,28 -p "127.0.0.1:$P")
		USE="python3 -c 'import socket, struct
s = socket.create_connection((\"127.0.0.1\", $P), 5); s.settimeout(8)
s.sendall(struct.pack(\">iiiiii\", 0, 2, 7, 0x10a, 9999, 0) + b\"/\\0\"); t = b\"\"
while b\"10.\" not in t:
  x = s.recv(999); assert x; t += x'" ;;
	saslauthd)
		mkdir "$D/run"
		CMD=(saslauthd -d -a getpwent -n 2 -m "$D/run") USE="testsaslauthd -u nobody -p x -f $D/run/mux | grep -q NO" ;;
	ssh-agent)
		ssh-keygen -qt ed25519 -N '' -f "$D/key"
		CMD=(ssh-agent -D -a "$D/sock") USE="SSH_AUTH_SOCK=$D/sock ssh-add -q $D/key && SSH_AUTH_SOCK=$D/sock ssh-add -T $D/key.pub" ;;
	ocserv)
		certificate "$D"
		printf '%s\n' "auth = \"plain[passwd=$D/users]\"" "tcp-port = $P" 'listen-host = 127.0.0.1' 'run-as-user = nobody' 'run-as-group = nogroup' "socket-file = $D/sock" "server-cert = $D/cert.pem" "server-key = $D/key.pem" 'isolate-workers = true' 'max-clients = 8' 'device = vpns' 'ipv4-network = 10.9.0.0/24' "pid-file = $D/pid" >"$D/conf"
		: >"$D/users"
		CMD=(ocserv -f -c "$D/conf") USE="curl -ksm 8 -d '<config-auth client=\"vpn\" type=\"init\"/>' https://127.0.0.1:$P/ | grep -q config-auth" ;;
	collectd)
		printf 'BaseDir "%s"\nPIDFile "%s/pid"\nTypesDB "/usr/share/collectd/types.db"\nInterval 1\nLoadPlugin unixsock\nLoadPlugin load\n<Plugin unixsock>\n  SocketFile "%s/sock"\n  SocketGroup root\n</Plugin>\n' "$D" "$D" "$D" >"$D/conf"
		CMD=(collectd -f -C "$D/conf")
		USE="sleep 1.5; python3 -c 'import socket
s = socket.socket(socket.AF_UNIX); s.connect(\"$D/sock\"); s.settimeout(8); s.sendall(b\"LISTVAL\\n\"); t = b\"\"
while b\"/load\" not in t:
  x = s.recv(999); assert x; t += x'" ;;
	zabbix_agentd)
		printf 'LogType=console\nPidFile=%s/pid\nServer=127.0.0.1\nListenIP=127.0.0.1\nListenPort=%d\nStartAgents=2\nAllowRoot=1\nAllowKey=system.run[*]\n' "$D" "$P" >"$D/conf"
		CMD=(zabbix_agentd -f -c "$D/conf")
		USE="python3 -c 'import socket, struct
s = socket.create_connection((\"127.0.0.1\", $P), 5); s.settimeout(8); q = b\"system.run[echo found]\"; t = b\"\"
s.sendall(b\"ZBXD\\1\" + struct.pack(\"<II\", len(q), 0) + q)
while b\"found\" not in t:
  x = s.recv(999); assert x; t += x'" ;;
	*) return 1 ;;
	esac
}
