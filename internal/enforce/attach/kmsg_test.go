package attach

import "testing"

func TestParseLog(t *testing.T) {
	const before = `5,376,23119704902,-;audit: type=1326 audit(1795701536.274:376): auid=4294967295 uid=0 gid=0 ses=4294967295 `
	for _, c := range []struct {
		line string
		want logLine
		ok   bool
	}{
		{before + `pid=20689 comm="a server" exe="/x/y" sig=0 arch=c000003e syscall=165 compat=0 ip=0x56137a558121 code=0x7ffc0000` + "\n", logLine{20689, "a server", 165, 0x56137a558121}, true},
		{before + `pid=7 comm=6120 exe="/x/y" sig=0 arch=c000003e syscall=0 compat=0 ip=0x1 code=0x7ffc0000`, logLine{7, "6120", 0, 1}, true},
		{before + `pid=7 comm="a" exe="/x" sig=31 arch=c000003e syscall=165 compat=0 ip=0x1 code=0x80000000`, logLine{}, false}, // it was ended
		{before + `pid=7 comm="a" exe="/x" sig=0 arch=40000003 syscall=165 compat=1 ip=0x1 code=0x7ffc0000`, logLine{}, false},  // 32 bits
		{`6,1,2,-;usb 1-1: type=1326`, logLine{}, false},
		{"", logLine{}, false},
	} {
		if got, ok := parseLog(c.line); ok != c.ok || got != c.want {
			t.Errorf("%q: %+v, %v, want %+v, %v", c.line, got, ok, c.want, c.ok)
		}
	}
}
