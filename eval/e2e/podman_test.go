package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"syspart/internal/testbin"
)

// TestPodman: redis-server answers in a container whose seccomp profile is an export, with each runtime; with a call less it
// is killed, so the profile is in force.
func TestPodman(t *testing.T) {
	testbin.NeedRoot(t)
	podman := testbin.Need(t, "podman", "podman")
	cli := testbin.Need(t, "redis-cli", "redis-tools")
	data := t.TempDir()
	argv, addr := testbin.Redis(t, data)
	_, port, _ := strings.Cut(addr, ":")
	_, path := profileOf(t, fmt.Sprintf("for i in $(seq 100); do %[1]s -p %[2]s set greeting hello && break; sleep 0.1; done", cli, port), argv...)

	// The container's files are this machine's programs, its directories for libraries, and the configuration.
	rootfs := t.TempDir()
	volumes := []string{"-v", "/usr:/usr:ro", "-v", data + ":" + data}
	for _, dir := range []string{"bin", "sbin", "lib", "lib64"} {
		if to, err := os.Readlink("/" + dir); err == nil {
			if err := os.Symlink(to, filepath.Join(rootfs, dir)); err != nil {
				t.Fatal(err)
			}
		} else {
			volumes = append(volumes, "-v", "/"+dir+":/"+dir+":ro")
		}
	}
	store := t.TempDir()
	socket := filepath.Join(data, "s")
	for _, runtime := range []string{"runc", "crun"} {
		t.Run(runtime, func(t *testing.T) {
			testbin.Need(t, runtime, runtime)
			profile := filepath.Join(t.TempDir(), "seccomp.json")
			must(t, "export", "-f", "oci", "--runtime", runtime, "--action", "kill-process", "-o", profile, path)
			name := fmt.Sprintf("syspart-%s-%d", runtime, os.Getpid())
			global := []string{podman, "--root", store, "--runroot", filepath.Join(store, "run"), "--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--runtime", runtime}
			t.Cleanup(func() { _ = exec.Command(global[0], append(global[1:], "rm", "-f", "-i", name)...).Run() })
			start := func(profile string) *testbin.Process {
				run := append(global[:len(global):len(global)], "run", "--rm", "--name", name, "--network", "none", "--security-opt", "seccomp="+profile,
					"--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024")
				before := ""
				if runtime == "crun" { // which refuses what it calls hybrid cgroups
					before = "umount -R /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup; "
					run = append(run, "--cgroups=disabled")
				}
				run = append(append(run, volumes...), "--rootfs", rootfs)
				run = append(append(run, argv...), "--unixsocket", socket)
				return testbin.Start(t, append([]string{"unshare", "-m", "sh", "-c", before + `exec "$@"`, "sh"}, run...)...)
			}
			ask := func(words ...string) string {
				out, _ := exec.Command(cli, append([]string{"-s", socket}, words...)...).CombinedOutput()
				return strings.TrimSpace(string(out))
			}
			srv := start("unconfined")
			testbin.Until(t, "redis-server answers in the container", func() bool { return ask("ping") == "PONG" || !srv.Alive() })
			if !srv.Alive() { // whatever is missing for containers, it is not the profile
				t.Logf("podman cannot run containers with %s here: %s", runtime, srv.Output())
				return
			}
			ask("shutdown", "nosave")
			srv.Wait()

			srv = start(profile)
			testbin.Until(t, "redis-server answers in the container", func() bool { return ask("ping") == "PONG" || !srv.Alive() })
			if got := ask("set", "greeting", "hello") + ask("get", "greeting"); got != "OKhello" {
				t.Fatalf("answer %q\n%s", got, srv.Output())
			}
			ask("shutdown", "nosave")
			if st := srv.Wait(); !st.Exited() || st.ExitStatus() != 0 {
				t.Errorf("ended with %v\n%s", st, srv.Output())
			}

			text, err := os.ReadFile(profile)
			if err != nil {
				t.Fatal(err)
			}
			less := strings.Replace(string(text), `"epoll_wait"`, `"no_such_call"`, -1)
			if err := os.WriteFile(profile, []byte(less), 0o644); err != nil {
				t.Fatal(err)
			}
			srv = start(profile)
			if st := srv.Wait(); !st.Exited() || st.ExitStatus() != 128+int(syscall.SIGSYS) || !strings.Contains(srv.Output(), "eady to accept connections") {
				t.Errorf("with a call less it ends with %v\n%s", st, srv.Output())
			}
		})
	}
}
