package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"syspart/internal/testbin"
)

// TestExports: what is exported is taken by the programs that it is for, and a server serves behind it.
func TestExports(t *testing.T) {
	testbin.NeedRoot(t)
	bin, _ := testbin.Server(t, "branch", "-O2")
	static, _ := testbin.Server(t, "branch", "-O2", "-static")
	_, path := fixtureProfile(t, "branch", bin)
	_, staticPath := fixtureProfile(t, "branch", static)
	dir := t.TempDir()
	export := func(name string, args ...string) string {
		file := filepath.Join(dir, name)
		must(t, append([]string{"export", "-o", file}, args...)...)
		return file
	}
	serves := func(t *testing.T, argv ...string) {
		t.Helper()
		srv, addr := testbin.StartServer(t, argv[0], argv[1:]...)
		for range 3 {
			if got, err := testbin.Ask(addr, "x"); err != nil || got != "ok" {
				t.Fatalf("answer %q, %v\n%s", got, err, srv.Output())
			}
		}
		srv.End()
	}

	t.Run("systemd", func(t *testing.T) {
		testbin.Need(t, "systemd-analyze", "systemd")
		unit := filepath.Join(dir, "fixture.service")
		if err := os.WriteFile(unit, []byte("[Service]\nExecStart="+bin+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(unit+".d", 0o755); err != nil {
			t.Fatal(err)
		}
		drop := export("fixture.service.d/50-syspart.conf", "-f", "systemd", path)
		check := func() ([]byte, error) {
			return exec.Command("systemd-analyze", "verify", "--recursive-errors=no", "--man=no", unit).CombinedOutput()
		}
		if out, err := check(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		text, err := os.ReadFile(drop)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(drop, append(text, "SystemCallFilter=no_such_call\n"...), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := check(); err == nil {
			t.Error("a wrong name is taken, too: the check says nothing")
		}
	})
	t.Run("bwrap", func(t *testing.T) {
		testbin.Need(t, "bwrap", "bubblewrap")
		file := export("filter.bpf", "-f", "bpf", "--action", "kill-process", path)
		serves(t, "bash", "-c", fmt.Sprintf("exec 9<%s; exec bwrap --bind / / --dev-bind /dev /dev --seccomp 9 %s", file, bin))
	})
	t.Run("firejail", func(t *testing.T) {
		testbin.Need(t, "firejail", "firejail")
		file := export("fixture.profile", "-f", "firejail", "--action", "kill-process", path)
		serves(t, "firejail", "--quiet", "--profile="+file, bin)
	})
	for _, runtime := range []string{"runc", "crun"} {
		t.Run(runtime, func(t *testing.T) {
			testbin.Need(t, runtime, runtime)
			bundle := filepath.Join(dir, runtime)
			for _, d := range []string{"proc", "dev", "sys"} {
				if err := os.MkdirAll(filepath.Join(bundle, "rootfs", d), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			data, err := os.ReadFile(static)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(bundle, "rootfs", "server"), data, 0o755); err != nil {
				t.Fatal(err)
			}
			text, err := os.ReadFile(export(runtime+".json", "-f", "oci", "--runtime", runtime, "--action", "kill-process", staticPath))
			if err != nil {
				t.Fatal(err)
			}
			type object = map[string]any
			config, err := json.Marshal(object{"ociVersion": "1.0.2", "root": object{"path": "rootfs"},
				"process": object{"args": []string{"/server"}, "cwd": "/", "user": object{"uid": 0, "gid": 0}, "noNewPrivileges": false},
				"mounts":  []object{{"destination": "/proc", "type": "proc", "source": "proc"}},
				"linux":   object{"namespaces": []object{{"type": "pid"}, {"type": "mount"}, {"type": "ipc"}, {"type": "uts"}}, "seccomp": json.RawMessage(text)}})
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(bundle, "config.json"), config, 0o644); err != nil {
				t.Fatal(err)
			}
			id := fmt.Sprintf("syspart-%s-%d", runtime, os.Getpid())
			t.Cleanup(func() { _ = exec.Command(runtime, "delete", "-f", id).Run() })
			argv := []string{"runc", "run", "-b", bundle, id}
			if runtime == "crun" { // which refuses what it calls hybrid cgroups
				argv = []string{"unshare", "-m", "sh", "-c", "umount -R /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup; exec crun --cgroup-manager=disabled run -b " + bundle + " " + id}
			}
			serves(t, argv...)
		})
	}
}
