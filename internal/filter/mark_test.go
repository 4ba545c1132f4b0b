package filter

import (
	"testing"

	"golang.org/x/sys/unix"

	"syspart/internal/syscalls"
)

// TestMarked: a marked filter does what the plain one does for every call but the question, and answers that.
func TestMarked(t *testing.T) {
	for _, a := range []Action{KillProcess, ErrnoAuto, Log, Trap, Errno(unix.EACCES)} {
		for _, allow := range []syscalls.Set{{}, syscalls.Of(unix.SYS_PRCTL), syscalls.Of(0, 1, 156, 157, 158), syscalls.All()} {
			plain, err := Compile(allow, a)
			if err != nil {
				t.Fatal(err)
			}
			p, mark, err := CompileMarked(allow, a)
			if err != nil {
				t.Fatal(err)
			}
			other, otherMark, err := CompileMarked(allow.Union(syscalls.Of(3)), a)
			if err != nil {
				t.Fatal(err)
			}
			if same := allow.Has(3); (otherMark == mark) != same {
				t.Errorf("marks %#x and %#x of filters that are the same: %v", mark, otherMark, same)
			}
			ask := func(mark uint32, filters ...Program) uint32 {
				v, err := Effective(filters, Data{Nr: unix.SYS_PRCTL, Arch: ArchX86_64,
					// The upper halves may hold anything: the kernel takes an int and the filter reads the same.
					Args: [6]uint64{uint64(MarkOption) | 7<<32, uint64(mark) | 9<<32}})
				if err != nil {
					t.Fatal(err)
				}
				return v
			}
			if v := ask(mark, p); v != RetErrno|MarkErrno {
				t.Errorf("%v: own mark: %s", a, VerdictName(v))
			}
			if v := ask(mark+1, p); v != RetAllow {
				t.Errorf("%v: another mark: %s", a, VerdictName(v))
			}
			// In a chain every mark is found, whichever is newer.
			for _, chain := range [][]Program{{p, other}, {other, p}} {
				if v := ask(mark, chain...); v != RetErrno|MarkErrno {
					t.Errorf("%v: in a chain: %s", a, VerdictName(v))
				}
				if v := ask(otherMark, chain...); v != RetErrno|MarkErrno {
					t.Errorf("%v: in a chain: %s", a, VerdictName(v))
				}
			}
			for nr := int32(-2); nr < int32(syscalls.Limit)+3; nr++ {
				for _, d := range []Data{{Nr: nr, Arch: ArchX86_64}, {Nr: nr | 1<<30, Arch: ArchX86_64}, {Nr: nr, Arch: ArchI386},
					{Nr: nr, Arch: ArchX86_64, Args: [6]uint64{unix.PR_SET_SECCOMP, uint64(mark)}}} {
					want, _ := plain.run(&d, nil)
					if got, _ := p.run(&d, nil); got != want {
						t.Fatalf("%v: %+v: %s, plain %s", a, d, VerdictName(got), VerdictName(want))
					}
				}
			}
			if got, err := Allowed(p); err != nil {
				t.Fatal(err)
			} else if want, _ := Allowed(plain); got != want {
				t.Errorf("%v: allowed %v, want %v", a, got.Names(), want.Names())
			}
		}
	}
}
