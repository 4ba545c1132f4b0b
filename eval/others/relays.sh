# Sourced by setup.sh: servers that hand on what they are given, to a server of its own behind them or to programs.

# pages: a server of pub on port P + 500, behind the one that is tried.
pages() { python3 -m http.server -b 127.0.0.1 -d "$D/pub" $((P + 500)) >/dev/null 2>&1 & behind=$!; }
# database: PostgreSQL on port P + 500, behind the one that is tried, which runs as its user too.
database() {
	chown postgres "$D"
	AS=(setpriv --reuid=postgres --regid=postgres --clear-groups)
	"${AS[@]}" initdb -D "$D/data" -A trust >/dev/null
	"${AS[@]}" postgres -D "$D/data" -p $((P + 500)) -h 127.0.0.1 -k "$D" >/dev/null 2>&1 &
	behind=$!
}

relays() {
	case $1 in
	dnsdist)
		printf 'setLocal("127.0.0.1:%d")\nsetSecurityPollSuffix("")\naddAction("www.test.example.", SpoofAction("10.1.2.3"))\n' "$P" >"$D/conf"
		CMD=(dnsdist --supervised --disable-syslog -C "$D/conf") USE=$(dns) ;;
	traffic_server)
		pages
		cp -r /etc/trafficserver "$D/etc" && mkdir "$D/log" "$D/run" "$D/cache" && chown -R trafficserver "$D/etc" "$D/log" "$D/run" "$D/cache"
		printf '%s\n' "CONFIG proxy.config.http.server_ports STRING $P:ip-in=127.0.0.1" 'CONFIG proxy.config.admin.user_id STRING trafficserver' "CONFIG proxy.config.local_state_dir STRING $D/run" "CONFIG proxy.config.log.logfile_dir STRING $D/log" \
			'CONFIG proxy.config.exec_thread.autoconfig INT 0' 'CONFIG proxy.config.exec_thread.limit INT 2' 'CONFIG proxy.config.reverse_proxy.enabled INT 1' 'CONFIG proxy.config.url_remap.remap_required INT 1' >"$D/etc/records.config"
		printf 'map / http://127.0.0.1:%d/\n' $((P + 500)) >"$D/etc/remap.config"
		printf '%s/cache 16M\n' "$D" >"$D/etc/storage.config"
		CMD=(env "PROXY_CONFIG_CONFIG_DIR=$D/etc" "PROXY_CONFIG_LOCAL_STATE_DIR=$D/run" traffic_server) USE="curl -sfm 8 http://127.0.0.1:$P/file | grep -q found" ;;
	hitch)
		pages
		certificate "$D"
		CMD=(hitch "--backend=[127.0.0.1]:$((P + 500))" "--frontend=[127.0.0.1]:$P" --user=nobody --workers=1 "$D/both.pem") USE="curl -ksfm 8 https://127.0.0.1:$P/file | grep -q found" ;;
	sniproxy)
		pages
		printf 'user nobody\nlisten 127.0.0.1:%d {\n  proto http\n  table t\n}\ntable t {\n  t.example 127.0.0.1:%d\n}\n' "$P" $((P + 500)) >"$D/conf"
		CMD=(sniproxy -f -c "$D/conf") USE="curl -sfm 8 -H 'Host: t.example' http://127.0.0.1:$P/file | grep -q found" ;;
	danted)
		pages
		printf '%s\n' "logoutput: $D/log" "internal: 127.0.0.1 port = $P" 'external: lo' 'socksmethod: none' 'clientmethod: none' 'user.privileged: root' 'user.unprivileged: nobody' 'client pass { from: 127.0.0.0/8 to: 0.0.0.0/0 }' 'socks pass { from: 127.0.0.0/8 to: 0.0.0.0/0 }' >"$D/conf"
		CMD=(danted -f "$D/conf" -p "$D/pid") USE="curl -sfm 8 --socks5 127.0.0.1:$P http://127.0.0.1:$((P + 500))/file | grep -q found" ;;
	ss-server)
		pages
		CMD=(ss-server -s 127.0.0.1 -p "$P" -k x -m aes-256-gcm -u)
		USE="ss-tunnel -s 127.0.0.1 -p $P -k x -m aes-256-gcm -b 127.0.0.1 -l $((P + 700)) -L 127.0.0.1:$((P + 500)) & t=\$!; sleep 0.3; curl -sfm 8 http://127.0.0.1:$((P + 700))/file | grep -q found; s=\$?; kill \$t; exit \$s" ;;
	pgbouncer)
		database
		printf '%s\n' '[databases]' "* = host=127.0.0.1 port=$((P + 500))" '[pgbouncer]' 'listen_addr = 127.0.0.1' "listen_port = $P" 'unix_socket_dir =' 'auth_type = trust' "auth_file = $D/users" >"$D/conf"
		printf '"postgres" ""\n' >"$D/users"
		CMD=(pgbouncer "$D/conf") USE="psql -h 127.0.0.1 -p $P -U postgres -Atc 'select 42 * 101' postgres | grep -qx 4242" ;;
	pgpool)
		database
		printf '%s\n' "listen_addresses = '127.0.0.1'" "port = $P" "pcp_listen_addresses = '127.0.0.1'" "pcp_port = $((P + 700))" "unix_socket_directories = '$D'" "pcp_socket_dir = '$D'" "pid_file_name = '$D/pid'" "logdir = '$D'" "work_dir = '$D'" "backend_hostname0 = '127.0.0.1'" "backend_port0 = $((P + 500))" 'num_init_children = 4' "backend_clustering_mode = 'raw'" "sr_check_user = 'postgres'" >"$D/conf"
		printf 'local all all trust\nhost all all 127.0.0.1/32 trust\n' >"$D/hba"
		: >"$D/pcp"
		CMD=(pgpool -n -f "$D/conf" -a "$D/hba" -F "$D/pcp") USE="psql -h 127.0.0.1 -p $P -U postgres -Atc 'select 42 * 101' postgres | grep -qx 4242" ;;
	webdis)
		redis-server --port $((P + 500)) --bind 127.0.0.1 --save '' >/dev/null 2>&1 &
		behind=$!
		printf '{"redis_host": "127.0.0.1", "redis_port": %d, "http_host": "127.0.0.1", "http_port": %d, "threads": 2, "daemonize": false, "websockets": false, "logfile": "%s/log"}\n' $((P + 500)) "$P" "$D" >"$D/conf"
		CMD=(webdis "$D/conf") USE="curl -sfm 5 http://127.0.0.1:$P/SET/a/found >/dev/null && curl -sfm 5 http://127.0.0.1:$P/GET/a | grep -q found" ;;
	ncat) CMD=(ncat -lk 127.0.0.1 "$P" -c 'echo found') USE="exec 3<>/dev/tcp/127.0.0.1/$P && timeout 5 cat <&3 | grep -q found" ;;
	socat) CMD=(socat "TCP-LISTEN:$P,bind=127.0.0.1,fork,reuseaddr" EXEC:"echo found") USE="exec 3<>/dev/tcp/127.0.0.1/$P && timeout 5 cat <&3 | grep -q found" ;;
	inetd)
		printf '127.0.0.1:%d stream tcp nowait nobody /bin/echo echo found\n' "$P" >"$D/conf"
		CMD=(inetd -i "$D/conf") USE="exec 3<>/dev/tcp/127.0.0.1/$P && timeout 5 cat <&3 | grep -q found" ;;
	openvpn)
		certificate "$D"
		CMD=(openvpn --dev null --proto tcp-server --local 127.0.0.1 --lport "$P" --tls-server --dh none --ca "$D/cert.pem" --cert "$D/cert.pem" --key "$D/key.pem" --verb 1)
		USE="rm -f $D/client; openvpn --dev null --proto tcp-client --remote 127.0.0.1 $P --nobind --tls-client --ca $D/cert.pem --cert $D/cert.pem --key $D/key.pem --connect-retry 1 >$D/client & c=\$!; for i in \$(seq 80); do grep -q 'Initialization Sequence Completed' $D/client && break; sleep 0.1; done; kill \$c; wait; grep -q 'Initialization Sequence Completed' $D/client" ;;
	znc)
		mkdir "$D/configs" && chown -R nobody "$D"
		AS=(setpriv --reuid=nobody --regid=nogroup --clear-groups)
		printf 'Version = 1.8.2\n<Listener l>\nPort = %d\nIPv4 = true\nIPv6 = false\nHost = 127.0.0.1\nSSL = false\n</Listener>\nLoadModule = webadmin\n<User u>\nPass = plain#x\nAdmin = true\nAllow = *\nNick = u\n</User>\n' "$P" >"$D/configs/znc.conf" && chown nobody "$D/configs/znc.conf"
		CMD=(znc -f -r -d "$D") USE="curl -sfm 5 http://127.0.0.1:$P/ | grep -qi znc && $(irc 'PASS u:x')" ;;
	bitlbee)
		printf '[settings]\nRunMode = Daemon\nDaemonInterface = 127.0.0.1\nDaemonPort = %d\nConfigDir = %s\n' "$P" "$D" >"$D/conf"
		CMD=(bitlbee -n -c "$D/conf") USE=$(irc) ;;
	wesnothd-1.16)
		CMD=(wesnothd-1.16 -p "$P")
		USE="python3 -c 'import gzip, socket, struct
s = socket.create_connection((\"127.0.0.1\", $P), 5); s.settimeout(8)
s.sendall(bytes(4)); assert len(s.recv(4)) == 4
n = struct.unpack(\">I\", s.recv(4))[0]; assert b\"version\" in gzip.decompress(s.recv(n))'" ;;
	*) return 1 ;;
	esac
}
