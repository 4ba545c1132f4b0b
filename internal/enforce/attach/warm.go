package attach

import (
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"syspart/internal/proc"
)

// warm hashes the plan's files before the server starts, and reads the tables of those that the stacks of serving threads lead
// through, so that what is to be done in it is done in milliseconds. What cannot be read is left to later: to the server it may
// have another name.
//
// The files are mapped here for it, because only /proc/PID/maps tells how the kernel will name them there.
func (a *agent) warm() {
	var mapped [][]byte
	names := make(map[string]bool, len(a.plan.Modules))
	for _, m := range a.plan.Modules {
		if b := firstPage(m.Path); b != nil {
			mapped, names[m.Path] = append(mapped, b), true
		}
	}
	stacks := make(map[string]bool)
	for i := range a.plan.Kinds {
		k := &a.plan.Kinds[i]
		stacks[k.Module] = true
		for _, fr := range k.Stack {
			stacks[fr.Module] = true
		}
	}
	maps, err := proc.ReadMaps(os.Getpid())
	if err == nil {
		var both sync.WaitGroup
		each := func(names map[string]bool, f func(m *proc.Mapping)) {
			for i := range maps {
				if m := &maps[i]; names[m.Path] && m.Off == 0 {
					f(m)
				}
			}
		}
		both.Go(func() { each(names, func(m *proc.Mapping) { a.verifier.Know(os.Getpid(), m) }) })
		each(stacks, func(m *proc.Mapping) { a.tables.Prepare(os.Getpid(), m) })
		both.Wait()
	}
	for _, b := range mapped {
		_ = unix.Munmap(b) // it was mapped
	}
}

// firstPage maps the beginning of a file; nil if that cannot be done.
func firstPage(path string) []byte {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0) // not to wait for a writer, should it be a FIFO
	if err != nil {
		return nil
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil || !st.Mode().IsRegular() || st.Size() == 0 {
		return nil
	}
	b, err := unix.Mmap(int(f.Fd()), 0, int(min(st.Size(), pageSize)), unix.PROT_READ, unix.MAP_PRIVATE)
	if err != nil {
		return nil
	}
	return b
}
