package pipeline

import (
	"runtime"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	heapYoung = 16 << 20  // bytes: a larger heap has been used, and memory from it would have to be cleared
	heapAhead = 128 << 20 // bytes of the heap to come that are advised; what an analysis of a common server takes
	hugePage  = 2 << 20
)

// hugeHeap asks the kernel for large pages under the heap to come, where it gives them only to who asks (madvise in
// /sys/kernel/mm/transparent_hugepage/enabled; Documentation/admin-guide/mm/transhuge.rst). An analysis goes through its memory
// once and at random: on virtual machines a fifth of its time goes into page faults and page tables otherwise. The advice stays
// with the addresses, so memory is taken for a moment and given back to the allocator untouched: so it is done for a
// young heap alone. Without effect where addresses are limited, since running out of them would end us.
var hugeHeap = sync.OnceFunc(func() {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_AS, &limit) != nil || limit.Cur != unix.RLIM_INFINITY {
		return
	}
	var m runtime.MemStats
	if runtime.ReadMemStats(&m); m.HeapSys > heapYoung {
		return
	}
	b := make([]byte, heapAhead)
	skip := -uintptr(unsafe.Pointer(unsafe.SliceData(b))) & (hugePage - 1)
	_ = unix.Madvise(b[skip:len(b)-hugePage+int(skip)], unix.MADV_HUGEPAGE) // a kernel without them is as good
	runtime.KeepAlive(b)
	runtime.GC()
})
