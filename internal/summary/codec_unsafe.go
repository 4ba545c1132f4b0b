package summary

import "unsafe"

// bytesOf is the memory of a flat slice.
func bytesOf[T any](s []T) []byte {
	if len(s) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(s))), len(s)*int(unsafe.Sizeof(s[0])))
}

// sliceOf is b, which must be aligned to 8 bytes, as a flat slice; false if its length is no multiple of T's size.
func sliceOf[T any](b []byte) ([]T, bool) {
	var t T
	size := int(unsafe.Sizeof(t))
	if len(b) == 0 {
		return nil, true
	}
	if len(b)%size != 0 || uintptr(unsafe.Pointer(unsafe.SliceData(b)))%unsafe.Alignof(t) != 0 {
		return nil, false
	}
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/size), true
}

// textOf is b as a string that shares its memory.
func textOf(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// layout is a fingerprint of the tables' element sizes: encodings of another layout are not read.
func layout() uint64 {
	h := uint64(14695981039346656037)
	for _, n := range [...]uintptr{
		unsafe.Sizeof(Func{}), unsafe.Sizeof(Block{}), unsafe.Sizeof(Call{}), unsafe.Sizeof(SysSite{}), unsafe.Sizeof(FrameVal{}), unsafe.Sizeof(First{}),
		unsafe.Sizeof(Store{}), unsafe.Sizeof(Ret{}), unsafe.Sizeof(Take{}), unsafe.Sizeof(Ref{}), unsafe.Sizeof(Ptr{}),
		unsafe.Sizeof(Obj{}), unsafe.Sizeof(Str{}), unsafe.Sizeof(header{}), unsafe.Sizeof(symbol{}), unsafe.Sizeof(dynamic{}),
	} {
		h = (h ^ uint64(n)) * 1099511628211
	}
	return h
}
