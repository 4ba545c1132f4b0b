package attach

import (
	"encoding/binary"
	"fmt"
	"os"
	"strings"

	"syspart/internal/proc"
)

// shadowStack reports whether the thread uses a shadow stack, which the code's return would not agree with
// (Documentation/arch/x86/shstk.rst: /proc/PID/status, x86_Thread_features).
func shadowStack(pid, tid int) (bool, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/status", pid, tid))
	if err != nil {
		return false, fmt.Errorf("thread %d: status: %w", tid, proc.ErrGone)
	}
	for line := range strings.Lines(string(text)) {
		if features, ok := strings.CutPrefix(line, "x86_Thread_features:"); ok {
			return strings.Contains(features, "shstk"), nil
		}
	}
	return false, nil
}

// inRestartable reports whether rip lies in a restartable sequence of the thread (rseq(2)): moved away and back, the
// thread would miss that it was preempted.
func inRestartable(pid, tid int, rip uint64) (bool, error) {
	area, err := rseqArea(tid)
	if err != nil || area == 0 {
		return false, nil // an older kernel, or the thread has none
	}
	// struct rseq: cpu_id_start, cpu_id, rseq_cs; struct rseq_cs: version, flags, start_ip, post_commit_offset, abort_ip.
	var ptr [8]byte
	if _, err := proc.Memory(pid).ReadAt(ptr[:], int64(area)+8); err != nil {
		return false, err
	}
	cs := binary.LittleEndian.Uint64(ptr[:])
	if cs == 0 {
		return false, nil
	}
	var d [32]byte
	if _, err := proc.Memory(pid).ReadAt(d[:], int64(cs)); err != nil {
		return false, err
	}
	start, length := binary.LittleEndian.Uint64(d[8:]), binary.LittleEndian.Uint64(d[16:])
	return rip-start < length, nil
}
