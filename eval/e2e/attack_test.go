package e2e

import (
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"syspart/internal/testbin"
)

// TestAttacks exploits a server with a hole by code on a writable page and by returns into code that is there, both of
// which execute a program. Unprotected both work; behind the filters both end the server at the first call that is closed.
func TestAttacks(t *testing.T) {
	testbin.NeedRoot(t)
	bin, _ := testbin.Server(t, "vulnerable", "-O1", "-fno-stack-protector", "-no-pie", "-fno-pie", "-fcf-protection=none", "-U_FORTIFY_SOURCE")
	_, path := fixtureProfile(t, "vulnerable", bin)
	for name, payload := range map[string]func(gadgets, area uint64, marker string) []byte{"shellcode": shellcode, "returns": returns} {
		for _, protected := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/protected=%v", name, protected), func(t *testing.T) {
				argv := []string{bin}
				if protected {
					argv = []string{syspart, "run", "-p", path, "--", bin}
				}
				srv, addr := testbin.StartServer(t, argv[0], argv[1:]...)
				var gadgets, area uint64
				for line := range strings.Lines(srv.Output()) {
					if _, err := fmt.Sscanf(line, "AT %x %x", &gadgets, &area); err == nil {
						break
					}
				}
				if area == 0 {
					t.Fatalf("it does not say where it is: %s", srv.Output())
				}
				if protected {
					leader := server(t, srv.PID, bin)
					testbin.Until(t, "it has its filter", func() bool { return allFiltered([]int{leader}) })
				}
				if got, err := testbin.Ask(addr, "x"); err != nil || got != "ok" {
					t.Fatalf("before the attack: %q, %v", got, err)
				}
				marker := filepath.Join(t.TempDir(), "marker")
				c, err := net.DialTimeout("tcp", addr, 5*time.Second)
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				if _, err := c.Write(payload(gadgets, area, marker)); err != nil {
					t.Fatal(err)
				}
				st := srv.Wait()
				_, err = os.Stat(marker)
				killed := st.Signaled() && st.Signal() == syscall.SIGSYS || st.Exited() && st.ExitStatus() == 128+int(syscall.SIGSYS)
				if protected && (err == nil || !killed) {
					t.Errorf("the attack works: %v, marker %v", st, err)
				}
				if !protected && (err != nil || killed) {
					t.Errorf("the attack does not work unprotected, so that it shows nothing: %v, marker %v", st, err)
				}
			})
		}
	}
}

// Places in the request, which lies at a known address.
const (
	bufferSize = 64
	slots      = 12   // eight bytes each that may be the return address
	codeAt     = 512  // instructions
	dataAt     = 1024 // strings and pointers
)

// request lays out a request: words from the end of the buffer on, code, and the arguments of touch MARKER; it returns the
// addresses of the path and of argv.
func request(area uint64, marker string, words []uint64, code []byte) (b []byte, path, argv uint64) {
	b = make([]byte, 2048)
	for i, w := range words {
		binary.LittleEndian.PutUint64(b[bufferSize+8*i:], w)
	}
	copy(b[codeAt:], code)
	path, argv = area+dataAt, area+dataAt+512
	copy(b[dataAt:], "/usr/bin/touch\x00")
	copy(b[dataAt+64:], marker+"\x00")
	binary.LittleEndian.PutUint64(b[dataAt+512:], path)
	binary.LittleEndian.PutUint64(b[dataAt+520:], area+dataAt+64)
	return b, path, argv
}

func shellcode(_, area uint64, marker string) []byte {
	words := make([]uint64, slots)
	for i := range words {
		words[i] = area + codeAt
	}
	_, path, argv := request(area, marker, nil, nil)
	code := []byte{0x48, 0xbf} // movabs $path,%rdi
	code = binary.LittleEndian.AppendUint64(code, path)
	code = append(code, 0x48, 0xbe) // movabs $argv,%rsi
	code = binary.LittleEndian.AppendUint64(code, argv)
	code = append(code, 0x31, 0xd2, 0xb8, syscall.SYS_EXECVE, 0, 0, 0, 0x0f, 0x05) // xor %edx,%edx; mov $execve,%eax; syscall
	b, _, _ := request(area, marker, words, code)
	return b
}

func returns(gadgets, area uint64, marker string) []byte {
	_, path, argv := request(area, marker, nil, nil)
	var words []uint64
	for range slots {
		words = append(words, gadgets+1) // ret
	}
	words = append(words, gadgets, path, gadgets+2, argv, gadgets+4, 0, gadgets+6, syscall.SYS_EXECVE, gadgets+8)
	b, _, _ := request(area, marker, words, nil)
	return b
}
