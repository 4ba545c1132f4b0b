package observe

import "syspart/internal/unwind"

// forkRecord is the stack that a process was born with.
type forkRecord struct {
	frames []Frame // the forking thread's, at the fork, innermost first
	alive  int     // how many of the outermost may still be active: samples can only lower it
}

func newForkRecord(res *unwind.Result) *forkRecord {
	st := toStack(res)
	return &forkRecord{frames: st.Frames, alive: len(st.Frames)}
}

// mark finds out how many of the outermost frames of a complete stack of the process's first thread are those that it was
// born with. Frames are compared from the bottom on: as long as return addresses and frame addresses are those of the
// fork, both stacks are the same activations; the first frame that has the same place and function but another return
// address is the innermost that has survived, now calling something else. What a sample has shown to be left is left for
// good, though a later call may build the same frames again.
func (f *forkRecord) mark(st *Stack) {
	st.Inherited, st.ForkPC = 0, 0
	if f == nil || !st.Complete {
		return
	}
	n := 0
	for n < f.alive && n < len(st.Frames) {
		old, now := &f.frames[len(f.frames)-1-n], &st.Frames[len(st.Frames)-1-n]
		if old.CFA != now.CFA || old.Module != now.Module || old.Func != now.Func {
			break
		}
		n++
		if old.PC != now.PC {
			break
		}
	}
	f.alive = n
	if n > 0 {
		st.Inherited, st.ForkPC = n, f.frames[len(f.frames)-n].PC
	}
}
