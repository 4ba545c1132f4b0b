package testbin

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// nginxConf is a master with one worker that serves files. Its worker gives up root for www-data, as on Debian.
const nginxConf = `%[3]sworker_processes 1;
pid %[1]s/nginx.pid;
error_log %[1]s/error.log;
events { worker_connections 64; }
http {
	access_log %[1]s/access.log;
	client_body_temp_path %[1]s/body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
	server {
		listen 127.0.0.1:%[2]d;
		root %[1]s/www;
	}
}
`

// Nginx writes a configuration for nginx into dir, with a file to serve, and returns the command line that starts it in
// the foreground and the URL at which it then answers "hello\n". It skips the test if nginx is missing.
func Nginx(t testing.TB, dir string) (argv []string, url string) {
	t.Helper()
	bin := Need(t, "nginx", "nginx")
	open(t, dir)
	www := filepath.Join(dir, "www")
	if err := os.MkdirAll(www, 0o755); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(www, "index.html"), "hello\n")
	user := ""
	if os.Geteuid() == 0 {
		user = "user www-data;\n"
	}
	port := Port(t)
	conf := filepath.Join(dir, "nginx.conf")
	put(t, conf, fmt.Sprintf(nginxConf, dir, port, user))
	argv = []string{bin, "-e", filepath.Join(dir, "error.log"), "-p", dir, "-c", conf, "-g", "daemon off;"}
	return argv, fmt.Sprintf("http://127.0.0.1:%d/", port)
}

// redisConf keeps everything in the directory and saves only when told to.
const redisConf = `bind 127.0.0.1
port %[2]d
dir %[1]s
daemonize no
save ""
appendonly no
pidfile %[1]s/redis.pid
`

// Redis writes a configuration for redis-server into dir and returns the command line that starts it in the foreground
// and the address at which it listens. It skips the test if redis-server is missing.
func Redis(t testing.TB, dir string) (argv []string, addr string) {
	t.Helper()
	bin := Need(t, "redis-server", "redis-server")
	port := Port(t)
	conf := filepath.Join(dir, "redis.conf")
	put(t, conf, fmt.Sprintf(redisConf, dir, port))
	return []string{bin, conf}, fmt.Sprintf("127.0.0.1:%d", port)
}

// StartNginx starts nginx in a directory of the test's own and waits until it serves.
func StartNginx(t testing.TB) (p *Process, url string) {
	t.Helper()
	argv, url := Nginx(t, t.TempDir())
	p = Start(t, argv...)
	Until(t, "nginx serves", func() bool {
		body, err := Get(url)
		return p.must() && err == nil && body == "hello\n"
	})
	return p, url
}

// StartRedis starts redis-server in a directory of the test's own and waits until it answers.
func StartRedis(t testing.TB) (p *Process, addr string) {
	t.Helper()
	argv, addr := Redis(t, t.TempDir())
	p = Start(t, argv...)
	Until(t, "redis-server serves", func() bool {
		line, err := Ask(addr, "PING\r\n")
		return p.must() && err == nil && line == "+PONG"
	})
	return p, addr
}

// StartServer starts a fixture of testdata/servers (see Server) and waits for its READY line. The address is empty for a
// fixture that listens nowhere.
func StartServer(t testing.TB, bin string, args ...string) (p *Process, addr string) {
	t.Helper()
	p = Start(t, append([]string{bin}, args...)...)
	if port, ok := strings.CutPrefix(p.Line("READY"), "READY "); ok {
		addr = "127.0.0.1:" + port
	}
	return p, addr
}

// must fails the test if the process has ended, instead of waiting for a dead server.
func (p *Process) must() bool {
	p.t.Helper()
	if !p.Alive() {
		p.t.Fatalf("%s has ended: %v\n%s", p.Cmd.Path, p.err, p.Output())
	}
	return true
}

func put(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
