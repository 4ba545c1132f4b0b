# Sourced by others.sh: how servers of Debian are started on loopback and used. D is an empty directory, P a port.

for f in relays runtimes services; do . "$here/others/$f.sh"; done

certificate() { openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout "$1/key.pem" -out "$1/cert.pem" 2>/dev/null; cat "$1/key.pem" "$1/cert.pem" >"$1/both.pem"; }
zone() { printf '$ORIGIN test.example.\n@ 60 IN SOA ns host 1 60 60 60 60\n@ 60 IN NS ns\nns 60 IN A 10.1.2.4\nwww 60 IN A 10.1.2.3\n' >"$1/zone"; }
dns() { echo "dig +tries=1 +time=3 +short -p $P @127.0.0.1 www.test.example | grep -qx 10.1.2.3 && dig +tcp +tries=1 +time=3 +short -p $P @127.0.0.1 www.test.example | grep -qx 10.1.2.3"; }
irc() { echo "python3 -c 'import os, socket
s=socket.create_connection((\"127.0.0.1\",$P),5); s.settimeout(8); s.sendall(b\"${1:+$1\\r\\n}NICK n%d\\r\\nUSER u 0 * :r\\r\\n\" % os.getpid()); t=b\"\"
while b\" 001 \" not in t:
  x=s.recv(999); assert x; t+=x
  if b\"PING\" in x: s.sendall(b\"PONG\"+x.split(b\"PING\")[1])'"; }
# fastcgi FILE [SOCKET]: its output by FastCGI says that it was found.
fastcgi() { echo "python3 -c 'import socket, struct
def rec(t, b): return struct.pack(\">BBHHBB\", 1, t, 1, len(b), 0, 0) + b
v = {\"SCRIPT_FILENAME\": \"$D/pub/$1\", \"REQUEST_METHOD\": \"GET\", \"SERVER_PROTOCOL\": \"HTTP/1.1\"}
s = ${2:+socket.socket(socket.AF_UNIX); s.connect(\"$2\") #}socket.create_connection((\"127.0.0.1\", $P), 5)
s.settimeout(8); s.sendall(rec(1, b\"\\0\\1\\0\\0\\0\\0\\0\\0\") + rec(4, b\"\".join(bytes([len(k), len(x)]) + k.encode() + x.encode() for k, x in v.items())) + rec(4, b\"\") + rec(5, b\"\"))
t = b\"\"
while x := s.recv(9999): t += x
assert b\"found\" in t'"; }

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
		printf '%s\n' 'ServerName t' 'ServerType standalone' "Port $P" 'DefaultAddress 127.0.0.1' 'UseIPv6 off' 'UseFtpUsers off' 'User nobody' 'Group nogroup' "PidFile $D/pid" "ScoreboardFile $D/score" 'WtmpLog off' "TransferLog none" "SystemLog $D/log" \
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
		USE=$(irc) ;;
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
		USE=$(fastcgi f.php) ;;
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
	exim4)
		printf 'primary_hostname = t.example\nlog_file_path = %s/log-%%slog\nspool_directory = %s/spool\npid_file_path = %s/pid\nacl_smtp_rcpt = accept\nacl_smtp_data = accept\nhost_lookup =\nrfc1413_query_timeout = 0s\nqueue_only = true\nkeep_environment =\nbegin routers\nd:\n  driver = redirect\n  data = :blackhole:\n' "$D" "$D" "$D" >"$D/conf"
		mkdir "$D/spool" && chown -R Debian-exim "$D/spool" "$D" && chown root "$D/conf"
		CMD=(exim4 -C "$D/conf" -bdf -oX "127.0.0.1.$P")
		USE="python3 -c 'import smtplib
s=smtplib.SMTP(\"127.0.0.1\",$P,timeout=8); s.sendmail(\"a@t.example\",[\"b@t.example\"],\"Subject: x\\n\\nfound\\n\"); s.quit()'" ;;
	dovecot)
		mkdir -p "$D/run" "$D/mail"; chown -R nobody:nogroup "$D/mail"
		printf '%s\n' "base_dir = $D/run" "state_dir = $D/run" "log_path = $D/log" 'protocols = imap' 'listen = 127.0.0.1' 'ssl = no' 'disable_plaintext_auth = no' "mail_location = maildir:$D/mail" 'first_valid_uid = 1' 'passdb {' ' driver = static' ' args = password=x' '}' 'userdb {' ' driver = static' " args = uid=65534 gid=65534 home=$D/mail" '}' 'service imap-login {' ' inet_listener imap {' "  port = $P" ' }' ' inet_listener imaps {' '  port = 0' ' }' '}' >"$D/conf"
		CMD=(dovecot -F -c "$D/conf")
		USE="python3 -c 'import imaplib
m=imaplib.IMAP4(\"127.0.0.1\",$P,timeout=8); m.login(\"u\",\"x\"); m.append(\"INBOX\",None,None,b\"Subject: x\\r\\n\\r\\nfound\\r\\n\"); m.select(); assert b\"found\" in m.fetch(b\"1\",\"(BODY[])\")[1][0][1]; m.logout()'" ;;
	slapd)
		mkdir "$D/db"
		printf '%s\n' 'include /etc/ldap/schema/core.schema' "pidfile $D/pid" 'modulepath /usr/lib/ldap' 'moduleload back_mdb' 'database mdb' 'suffix "dc=t"' 'rootdn "cn=a,dc=t"' 'rootpw x' "directory $D/db" >"$D/conf"
		printf 'dn: dc=t\nobjectClass: dcObject\nobjectClass: organization\no: found\ndc: t\n' >"$D/ldif"
		CMD=(slapd -h "ldap://127.0.0.1:$P" -f "$D/conf" -d 0)
		USE="{ ldapadd -x -H ldap://127.0.0.1:$P -D cn=a,dc=t -w x -f $D/ldif; ldapsearch -x -LLL -H ldap://127.0.0.1:$P -b dc=t | grep -q found; } 2>/dev/null" ;;
	etcd)
		CMD=(etcd --data-dir "$D/data" --listen-client-urls "http://127.0.0.1:$P" --advertise-client-urls "http://127.0.0.1:$P" --listen-peer-urls "http://127.0.0.1:$((P + 500))" --initial-advertise-peer-urls "http://127.0.0.1:$((P + 500))" --initial-cluster "default=http://127.0.0.1:$((P + 500))" --logger zap --log-level error)
		USE="curl -sfm 5 http://127.0.0.1:$P/v3/kv/put -d '{\"key\":\"Zm8=\",\"value\":\"YmFy\"}' >/dev/null && curl -sfm 5 http://127.0.0.1:$P/v3/kv/range -d '{\"key\":\"Zm8=\"}' | grep -q YmFy" ;;
	prometheus)
		printf 'global:\n  scrape_interval: 1s\nscrape_configs:\n- job_name: self\n  static_configs:\n  - targets: ["127.0.0.1:%d"]\n' "$P" >"$D/conf"
		CMD=(prometheus --config.file="$D/conf" --storage.tsdb.path="$D/data" --web.listen-address="127.0.0.1:$P" --log.level=error)
		USE="curl -sfm 5 'http://127.0.0.1:$P/api/v1/query?query=up' | grep -q success" ;;
	caddy)
		CMD=(caddy file-server --listen "127.0.0.1:$P" --root "$D/pub")
		USE="curl -sfm 5 http://127.0.0.1:$P/file | grep -q found" ;;
	tor)
		: >"$D/torrc"
		CMD=(tor --ControlPort "127.0.0.1:$P" --SocksPort 0 --DisableNetwork 1 --DataDirectory "$D/data" --Log "err stderr" --RunAsDaemon 0 -f "$D/torrc" --defaults-torrc "$D/torrc")
		USE="python3 -c 'import socket
s=socket.create_connection((\"127.0.0.1\",$P),5); s.settimeout(8); s.sendall(b\"AUTHENTICATE\\r\\nGETINFO version\\r\\nQUIT\\r\\n\"); t=b\"\"
while b\"version=\" not in t:
  x=s.recv(999); assert x; t+=x'" ;;
	h2o)
		printf 'listen:\n  host: 127.0.0.1\n  port: %d\nuser: root\nhosts:\n  default:\n    paths:\n      /:\n        file.dir: %s/pub\n' "$P" "$D" >"$D/conf"
		CMD=(h2o -c "$D/conf") USE="curl -sfm 5 http://127.0.0.1:$P/file | grep -q found" ;;
	icecast2)
		mkdir "$D/log"
		printf '<icecast><limits><clients>10</clients><sources>2</sources></limits><authentication><source-password>x</source-password><admin-user>a</admin-user><admin-password>x</admin-password></authentication><hostname>localhost</hostname><listen-socket><port>%d</port><bind-address>127.0.0.1</bind-address></listen-socket><paths><logdir>%s/log</logdir><webroot>%s/pub</webroot><adminroot>/usr/share/icecast2/admin</adminroot></paths><security><chroot>0</chroot><changeowner><user>nobody</user><group>nogroup</group></changeowner></security></icecast>' "$P" "$D" "$D" >"$D/conf"
		chown -R nobody "$D/log"
		CMD=(icecast2 -c "$D/conf") USE="curl -sfm 5 http://127.0.0.1:$P/file | grep -q found" ;;
	gunicorn)
		printf 'def app(env, start):\n    start("200 OK", [("Content-Type", "text/plain")])\n    return [b"found"]\n' >"$D/app.py"
		CMD=(gunicorn -w 2 -b "127.0.0.1:$P" --chdir "$D" app:app) USE="curl -sfm 5 http://127.0.0.1:$P/ | grep -q found" ;;
	uwsgi-core)
		printf 'def application(env, start):\n    start("200 OK", [("Content-Type", "text/plain")])\n    return [b"found"]\n' >"$D/app.py"
		CMD=(uwsgi-core --plugin python3 --http-socket "127.0.0.1:$P" --wsgi-file "$D/app.py" --master --processes 2 --die-on-term) USE="curl -sfm 5 http://127.0.0.1:$P/ | grep -q found" ;;
	puma)
		printf 'run lambda { |env| [200, {"content-type" => "text/plain"}, ["found"]] }\n' >"$D/config.ru"
		CMD=(puma -b "tcp://127.0.0.1:$P" --dir "$D" "$D/config.ru") USE="curl -sfm 5 http://127.0.0.1:$P/ | grep -q found" ;;
	snmpd)
		printf 'rocommunity public 127.0.0.1\n' >"$D/conf"
		CMD=(snmpd -f -Lf "$D/log" -C -c "$D/conf" -p "$D/pid" "udp:127.0.0.1:$P")
		USE="snmpget -v2c -c public -t 2 -r 1 127.0.0.1:$P 1.3.6.1.2.1.1.1.0 | grep -q Linux" ;;
	transmission-daemon)
		CMD=(transmission-daemon -f -g "$D/conf" -p "$P" -r 127.0.0.1 --no-portmap --no-dht --no-lpd --no-utp -P $((P + 500)) -w "$D/pub")
		USE="curl -sm 5 -o $D/page -w '%{http_code}' http://127.0.0.1:$P/transmission/rpc | grep -q 409" ;;
	chronyd)
		printf 'port 0\ncmdport %d\nbindcmdaddress 127.0.0.1\nbindcmdaddress %s/sock\nlocal stratum 8\npidfile %s/pid\ndriftfile %s/drift\n' "$P" "$D" "$D" "$D" >"$D/conf"
		chown _chrony "$D"
		CMD=(chronyd -d -x -f "$D/conf") USE="timeout 5 chronyc -n -h 127.0.0.1 -p $P tracking | grep -q Stratum" ;;
	inspircd)
		printf '<server name="t.example" description="t" network="t"><admin name="a" nick="a" email="a@t.example"><bind address="127.0.0.1" port="%d" type="clients"><connect allow="*" resolvehostnames="no" useident="no"><pid file="%s/pid"><log method="file" type="* -USERINPUT -USEROUTPUT" level="default" target="%s/log">\n' "$P" "$D" "$D" >"$D/conf"
		CMD=(inspircd --nofork --runasroot --config "$D/conf")
		USE=$(irc) ;;
	prosody)
		printf 'run_as_root = true\npidfile = "%s/pid"\ndata_path = "%s"\ninterfaces = { "127.0.0.1" }\nc2s_ports = { %d }\ns2s_ports = {}\nhttp_ports = {}\nhttps_ports = {}\nmodules_enabled = { "saslauth", "disco" }\nlog = { error = "%s/log" }\nVirtualHost "localhost"\n' "$D" "$D" "$P" "$D" >"$D/prosody.cfg.lua"
		CMD=(prosody -F --config "$D/prosody.cfg.lua")
		USE="python3 -c 'import socket
s=socket.create_connection((\"127.0.0.1\",$P),5); s.settimeout(8); t=b\"\"
s.sendall(b\"<?xml version=\\\"1.0\\\"?><stream:stream to=\\\"localhost\\\" xmlns=\\\"jabber:client\\\" xmlns:stream=\\\"http://etherx.jabber.org/streams\\\" version=\\\"1.0\\\">\")
while b\"features\" not in t:
  x=s.recv(999); assert x; t+=x'" ;;
	smbd)
		mkdir "$D/state"
		printf '[global]\nsmb ports = %d\ninterfaces = 127.0.0.1\nbind interfaces only = yes\nserver role = standalone\nmap to guest = bad user\nguest account = nobody\nprivate dir = %s/state\nlock directory = %s/state\nstate directory = %s/state\ncache directory = %s/state\npid directory = %s/state\nncalrpc dir = %s/state/rpc\nlog file = %s/log\nload printers = no\ndisable spoolss = yes\n[pub]\npath = %s/pub\nguest ok = yes\n' "$P" "$D" "$D" "$D" "$D" "$D" "$D" "$D" "$D" >"$D/conf"
		CMD=(smbd -F -s "$D/conf")
		USE="smbclient -N -s $D/conf -p $P //127.0.0.1/pub -c 'get file $D/got' >/dev/null 2>&1 && grep -q found $D/got" ;;
	cupsd)
		mkdir -p "$D/root" "$D/spool" "$D/run" "$D/cache"
		printf 'Listen 127.0.0.1:%d\nWebInterface Yes\n<Location />\nOrder allow,deny\nAllow all\n</Location>\n' "$P" >"$D/conf"
		printf 'ServerRoot %s/root\nRequestRoot %s/spool\nCacheDir %s/cache\nStateDir %s/run\nTempDir %s/spool\nErrorLog %s/log\nAccessLog %s/access\nPageLog %s/page\nSystemGroup root\n' "$D" "$D" "$D" "$D" "$D" "$D" "$D" "$D" >"$D/files"
		CMD=(cupsd -f -c "$D/conf" -s "$D/files")
		USE="curl -sm 8 -o /dev/null -w '%{http_code}' http://127.0.0.1:$P/ | grep -qE '200|404'" ;;
	node)
		printf 'const fs = require("fs");\nrequire("http").createServer((q, r) => fs.readFile("%s/pub/file", (e, d) => r.end(d))).listen(%d, "127.0.0.1");\n' "$D" "$P" >"$D/s.js"
		CMD=(node "$D/s.js") USE="curl -sfm 5 http://127.0.0.1:$P/ | grep -q found" ;;
	python3)
		CMD=(python3 -m http.server -b 127.0.0.1 -d "$D/pub" "$P") USE="curl -sfm 5 http://127.0.0.1:$P/file | grep -q found" ;;
	*) relays "$1" || runtimes "$1" || services "$1" ;;
	esac
}
