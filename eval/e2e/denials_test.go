package e2e

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"syspart/internal/testbin"
)

// TestDenials: a call that a filter denies is told of, with thread, main loop, arguments and place, on standard output and in
// the system's log, whether the process ends by it, gets a signal, or goes on.
func TestDenials(t *testing.T) {
	testbin.NeedRoot(t)
	bin := testbin.Build(t, filepath.Join("testdata", "denied.c"), "-O2", "-pthread")
	_, path := fixtureProfile(t, "denied", bin)
	for _, action := range []string{"kill-process", "trap", "log"} {
		t.Run(action, func(t *testing.T) {
			if action == "log" {
				if f, err := os.Open("/dev/kmsg"); err != nil {
					testbin.Skip(t, "the kernel's log: %v", err)
				} else {
					f.Close()
				}
			}
			socket := filepath.Join(t.TempDir(), "log")
			logger, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
			if err != nil {
				t.Fatal(err)
			}
			defer logger.Close()
			srv, addr := testbin.StartServer(t, syspart, "run", "--action", action, "-p", path, "--", bin)
			leader := server(t, srv.PID, bin)
			testbin.Until(t, "every thread has a filter", func() bool { return allFiltered([]int{leader}) })
			testbin.Until(t, "nobody watches", func() bool { return len(watchers(t)) == 0 })
			told := testbin.Start(t, syspart, "denials", "-p", path, "--syslog", socket, fmt.Sprint(leader))
			testbin.Until(t, "it is traced", func() bool { return status(t, leader, "TracerPid") != "0" })
			if got, err := testbin.Ask(addr, "x"); err != nil || got != "ok" {
				t.Fatalf("while it is traced: %q, %v", got, err)
			}
			testbin.Ask(addr, "deny")
			line := told.Line("process")
			want := fmt.Sprintf(`^process %d, thread %d \(denied\), serving in denied:serve: mount\(0x1, 0x2, 0x3, .*\), %s, at denied:deny\+0x\S+ < denied:serve\+0x.* < libc`, leader, leader, action)
			if action == "log" {
				want = fmt.Sprintf(`^process %d \(denied\): mount, log, at denied:deny\+0x[0-9a-f]+\.`, leader)
			}
			if !regexp.MustCompile(want).MatchString(line) || !strings.Contains(line, "syspart explain "+path+" mount") {
				t.Errorf("it says %q, want %s", line, want)
			}
			logger.SetReadDeadline(time.Now().Add(testbin.Patience))
			buf := make([]byte, 4096)
			n, err := logger.Read(buf)
			if err != nil || !strings.Contains(string(buf[:n]), line) {
				t.Errorf("the system's log has %q, %v, not %q", buf[:n], err, line)
			}
			if action == "log" {
				if got, err := testbin.Ask(addr, "x"); err != nil || got != "ok" {
					t.Errorf("behind a call that was logged: %q, %v", got, err)
				}
				told.Signal(syscall.SIGTERM)
				if st := told.Wait(); st.ExitStatus() != 0 {
					t.Errorf("denials: %v\n%s", st, told.Output())
				}
				if s := status(t, leader, "TracerPid"); s != "0" {
					t.Errorf("it is still traced by %s", s)
				}
				return
			}
			if st := srv.Wait(); !st.Signaled() || st.Signal() != syscall.SIGSYS {
				t.Errorf("the server ended with %v", st)
			}
			if st := told.Wait(); st.ExitStatus() != 0 {
				t.Errorf("denials: %v\n%s", st, told.Output())
			}
		})
	}
}
