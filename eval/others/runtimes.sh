# Sourced by setup.sh: servers that are run by something else than the code of C compilers.

runtimes() {
	case $1 in
	rmiregistry)
		CMD=(rmiregistry "$P" -J-Djava.rmi.server.hostname=127.0.0.1)
		USE="python3 -c 'import socket
s = socket.create_connection((\"127.0.0.1\", $P), 5); s.settimeout(8)
s.sendall(b\"JRMI\\0\\2\\x4b\"); assert s.recv(99)[:1] == b\"N\"
s.sendall(b\"\\0\\x09127.0.0.1\\0\\0\\0\\0\" + bytes.fromhex(\"50aced00057722\" + \"00\" * 22 + \"00000001\" + \"44154dc9d4e63bdf\"))
t = b\"\"
while b\"java.lang.String\" not in t:
  x = s.recv(999); assert x; t += x'" ;;
	erl)
		CMD=(erl -noinput -eval "{ok, _} = application:ensure_all_started(inets), {ok, _} = inets:start(httpd, [{port, $P}, {bind_address, {127, 0, 0, 1}}, {server_name, \"t\"}, {server_root, \"$D\"}, {document_root, \"$D/pub\"}]).")
		USE="curl -sfm 5 http://127.0.0.1:$P/file | grep -q found" ;;
	swipl)
		printf '%s\n' ':- use_module(library(http/thread_httpd)).' ':- use_module(library(http/http_dispatch)).' ':- http_handler(root(.), found, []).' 'found(_) :- format("Content-type: text/plain~n~nfound~n").' ":- http_server(http_dispatch, [port('127.0.0.1':$P), workers(2)])." ':- thread_get_message(never).' >"$D/s.pl"
		CMD=(swipl "$D/s.pl") USE="curl -sfm 5 http://127.0.0.1:$P/ | grep -q found" ;;
	php8.2)
		printf '<?php $p = popen("echo found", "r"); echo fgets($p);' >"$D/pub/f.php"
		CMD=(php8.2 -S "127.0.0.1:$P" -t "$D/pub") USE="curl -sfm 5 http://127.0.0.1:$P/f.php | grep -q found" ;;
	tarantool)
		printf '%s\n' "box.cfg{work_dir = '$D', memtx_memory = 33554432}" "local t = box.schema.space.create('t', {if_not_exists = true})" "t:create_index('i', {if_not_exists = true})" "require('console').listen('127.0.0.1:$P')" >"$D/s.lua"
		CMD=(tarantool "$D/s.lua")
		USE="python3 -c 'import socket
s = socket.create_connection((\"127.0.0.1\", $P), 5); s.settimeout(8); t = b\"\"
s.sendall(b\"box.space.t:replace{1, \\\"fou\\\" .. \\\"nd\\\"}\\n\")
while b\"found\" not in t:
  x = s.recv(999); assert x; t += x'" ;;
	guile)
		printf '%s\n' '(use-modules (web server))' '(run-server (lambda (q b) (values (quote ((content-type . (text/plain)))) "found")) (quote http)' "  (list #:port $P))" >"$D/s.scm"
		CMD=(guile --no-auto-compile "$D/s.scm") USE="curl -sfm 5 http://127.0.0.1:$P/ | grep -q found" ;;
	nats-server)
		CMD=(nats-server -a 127.0.0.1 -p "$P" -js -sd "$D/store")
		USE="python3 -c 'import socket
s = socket.create_connection((\"127.0.0.1\", $P), 5); s.settimeout(8); t = b\"\"
s.sendall(b\"CONNECT {\\\"verbose\\\":false}\\r\\nSUB a 1\\r\\nPUB a 5\\r\\nfound\\r\\n\")
while b\"found\" not in t:
  x = s.recv(999); assert x; t += x'" ;;
	syncthing)
		syncthing generate --home="$D/home" --no-default-folder >/dev/null 2>&1
		sed -i -E 's,<(globalAnnounceEnabled|localAnnounceEnabled|relaysEnabled|natEnabled|crashReportingEnabled|startBrowser)>true,<\1>false,; s,<listenAddress>.*<,<listenAddress>tcp://127.0.0.1:'$((P + 500))'<,; s,<(urAccepted|autoUpgradeIntervalH)>[^<]*,<\1>0,; s,<urAccepted>0,<urAccepted>-1,' "$D/home/config.xml"
		CMD=(syncthing serve --home="$D/home" --gui-address="127.0.0.1:$P" --no-browser --no-upgrade --no-restart) USE="curl -sfm 5 http://127.0.0.1:$P/ | grep -qi syncthing" ;;
	docker-registry)
		printf 'version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: %s/store\nhttp:\n  addr: 127.0.0.1:%d\n' "$D" "$P" >"$D/conf"
		CMD=(docker-registry serve "$D/conf")
		USE="d=sha256:\$(sha256sum $D/pub/file | cut -d' ' -f1); l=\$(curl -sfm 5 -X POST -o /dev/null -D - http://127.0.0.1:$P/v2/t/blobs/uploads/ | sed -n 's/\\r//; s/^Location: //p') && curl -sfm 5 -X PUT --data-binary @$D/pub/file -H 'Content-Type: application/octet-stream' \"\$l&digest=\$d\" && curl -sfm 5 http://127.0.0.1:$P/v2/t/blobs/\$d | grep -q found" ;;
	sccache)
		printf 'int main(void) { return 0; }\n' >"$D/x.c"
		CMD=(env "SCCACHE_SERVER_PORT=$P" SCCACHE_NO_DAEMON=1 SCCACHE_START_SERVER=1 SCCACHE_IDLE_TIMEOUT=0 "SCCACHE_DIR=$D/cache" sccache)
		USE=": >/dev/tcp/127.0.0.1/$P && cd $D && SCCACHE_SERVER_PORT=$P sccache gcc -c x.c -o x.o && test -s x.o && rm x.o" ;;
	unison)
		CMD=(env "UNISON=$D/state" unison -socket "$P" -host 127.0.0.1) USE="echo found \$RANDOM >$D/pub/file && UNISON=$D/state unison $D/pub socket://127.0.0.1:$P/$D/got -batch -silent -ui text; cmp $D/pub/file $D/got/file" ;;
	mono)
		printf '%s\n' 'using System.Net; using System.Net.Sockets; using System.Threading;' 'class S { static void Main(string[] a) { var l = new TcpListener(IPAddress.Loopback, int.Parse(a[0])); l.Start();' \
			'for (;;) { var c = l.AcceptTcpClient(); ThreadPool.QueueUserWorkItem(_ => { var b = new byte[] { 102, 111, 117, 110, 100, 10 }; c.GetStream().Write(b, 0, 6); c.Close(); }); } } }' >"$D/s.cs"
		mcs -out:"$D/s.exe" "$D/s.cs"
		CMD=(mono "$D/s.exe" "$P") USE="exec 3<>/dev/tcp/127.0.0.1/$P && timeout 5 cat <&3 | grep -q found" ;;
	*) return 1 ;;
	esac
}
