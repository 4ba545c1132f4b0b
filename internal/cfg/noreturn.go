package cfg

import (
	"bytes"
	"maps"
	"strings"

	"syspart/internal/decode"
	"syspart/internal/image"
)

// noReturnNames are functions of the C and C++ run-time libraries that never return to their caller, by the names that
// files import them under. They are looked up for undefined symbols only, see importNeverReturns.
var noReturnNames = map[string]bool{
	"exit": true, "_exit": true, "_Exit": true, "quick_exit": true, "abort": true, "thrd_exit": true,
	"pthread_exit": true, "__pthread_exit": true, "__pthread_unwind_next": true, "__pthread_unwind": true,
	"__assert_fail": true, "__assert_perror_fail": true, "__assert": true, "__assert_rtn": true,
	"__stack_chk_fail": true, "__stack_chk_fail_local": true, "__chk_fail": true, "__fortify_fail": true,
	"__libc_fatal": true, "_dl_signal_error": true, "_dl_signal_exception": true,
	"longjmp": true, "_longjmp": true, "siglongjmp": true, "__longjmp_chk": true, "____longjmp_chk": true,
	"__libc_longjmp": true, "__libc_siglongjmp": true,

	"_Unwind_Resume": true,
	"__cxa_throw":    true, "__cxa_rethrow": true, "__cxa_bad_cast": true, "__cxa_bad_typeid": true,
	"__cxa_throw_bad_array_new_length": true, "__cxa_throw_bad_array_length": true, "__cxa_call_unexpected": true,
	"__cxa_call_terminate": true, "__cxa_pure_virtual": true, "__cxa_deleted_virtual": true,
	"_ZSt9terminatev": true, "_ZSt10unexpectedv": true, "_ZSt17rethrow_exceptionNSt15__exception_ptr13exception_ptrE": true,
}

// ambiguousNames never return in the C library, but are names that a program may well use for a function of its own.
// They count only when their version or the file's libraries show whose they are.
var ambiguousNames = map[string]bool{"err": true, "errx": true, "verr": true, "verrx": true}

// importNeverReturns reports whether the undefined symbol s is a run-time library's function that never returns.
func importNeverReturns(s *image.Symbol, dyn *image.Dynamic) bool {
	if !s.Undefined || s.Name == "" {
		return false
	}
	if noReturnNames[s.Name] || strings.HasPrefix(s.Name, "_ZSt") && strings.Contains(s.Name, "__throw_") {
		return true
	}
	if !ambiguousNames[s.Name] {
		return false
	}
	if strings.HasPrefix(s.Version, "GLIBC_") {
		return true
	}
	for _, n := range dyn.Needed {
		if strings.HasPrefix(n, "libc.musl-") || n == "libc.so" {
			return s.Version == ""
		}
	}
	return false
}

// definedNeverReturns are functions that end in ways that their bodies do not show (they load a stack pointer and jump,
// or return into another frame), by the names that their own libraries define them under.
var definedNeverReturns = map[string]bool{
	"longjmp": true, "_longjmp": true, "siglongjmp": true, "__longjmp_chk": true, "____longjmp_chk": true, "__longjmp": true,
	"__libc_longjmp": true, "__libc_siglongjmp": true, "_Unwind_Resume": true,
}

// runtimeLibrary reports whether the file is a C run-time library or the unwinder, or holds one statically.
func runtimeLibrary(f *image.File) bool {
	if f.Static {
		return true
	}
	for _, p := range []string{"libc.so", "libc.musl-", "ld-linux", "ld-musl", "libpthread.so", "libgcc_s.so", "libunwind.so"} {
		if strings.HasPrefix(f.Dyn.Soname, p) {
			return true
		}
	}
	return false
}

// nameNoReturns fills b.noretSlot and b.named, and starts b.noret with the latter.
func (b *builder) nameNoReturns() {
	b.named = make(map[uint64]bool)
	b.noretSlot = make(map[uint64]bool)
	defer func() { b.noret = maps.Clone(b.named) }()
	syms := b.f.Dyn.Symbols
	for i := range b.f.Dyn.Relocs {
		r := &b.f.Dyn.Relocs[i]
		if r.Type != relGlobDat && r.Type != relJumpSlot && r.Type != rel64 || int(r.Sym) >= len(syms) || r.Addend != 0 {
			continue
		}
		if importNeverReturns(&syms[r.Sym], &b.f.Dyn) {
			b.noretSlot[r.Off] = true
		}
	}
	if runtimeLibrary(b.f) {
		for _, tab := range [][]image.Symbol{syms, b.f.Symtab} {
			for i := range tab {
				if s := &tab[i]; definedNeverReturns[s.Name] && b.isCodeSymbol(s) {
					b.named[s.Value] = true
				}
			}
		}
	}
	if len(b.noretSlot) == 0 {
		return
	}
	// Stubs that jump through such a slot, wherever they are.
	for _, t := range b.text {
		code := b.code(t)
		for at := 0; ; at++ {
			n := bytes.Index(code[at:], jumpThroughRIP)
			if n < 0 {
				break
			}
			at += n
			if slot, ok := stubSlot(code[at:], t.Start+uint64(at)); !ok || !b.noretSlot[slot] {
				continue
			}
			start := at
			b.named[t.Start+uint64(start)] = true
			if start >= 1 && (code[start-1] == 0xf2 || code[start-1] == 0x3e) {
				start--
				b.named[t.Start+uint64(start)] = true
			}
			if start >= 4 && bytes.Equal(code[start-4:start], endbr64) {
				b.named[t.Start+uint64(start-4)] = true
			}
		}
	}
}

// spread computes which functions may return, given the calls that are known not to: the least set that holds every
// function with a return, an indirect tail call or unknown control flow, and every function that tail-calls a member.
func (b *builder) spread() {
	for _, n := range b.nodes {
		n.mayReturn = n.ends || n.pinned || b.switches(n.fn)
	}
	for changed := true; changed; {
		changed = false
		for _, n := range b.nodes {
			if n.mayReturn {
				continue
			}
			for _, t := range n.tails {
				if b.named[t.to] {
					continue
				}
				if to := b.at[t.to]; to == nil || to.mayReturn {
					n.mayReturn = true
					changed = true
					break
				}
			}
		}
	}
}

// switches reports whether a function of Go's run time goes on on another stack and never comes back by itself, as mcall
// does: what follows a call of it runs when the goroutine goes on.
func (b *builder) switches(f *Func) bool {
	if b.golang == nil || !b.golang.Text.Contains(f.Entry) {
		return false
	}
	for i := range f.Insts {
		in := &f.Insts[i]
		if in.Op == decode.OpMov && in.Dst.Kind == decode.ArgReg && in.Dst.Reg == decode.RSP && !(in.Src.Kind == decode.ArgReg && in.Src.Reg == decode.RBP) {
			return true
		}
	}
	return false
}

// settleReturns proves functions not to return, explores their callers again without what follows those calls, and so on
// until nothing changes. A proof made on an earlier graph that the present one (with merged parts, more jump-table
// targets) does not bear out is taken back for good.
func (b *builder) settleReturns() error {
	for {
		b.spread()
		changed := make(map[uint64]bool)
		for _, n := range b.nodes {
			va := n.fn.Entry
			switch {
			case b.named[va]:
			case !n.mayReturn && !b.noret[va]:
				b.noret[va] = true
				changed[va] = true
			case n.mayReturn && b.noret[va]:
				n.pinned = true
				delete(b.noret, va)
				changed[va] = true
			}
		}
		if len(changed) == 0 {
			return nil
		}
		for _, n := range b.nodes {
			for _, c := range n.calls {
				if changed[c] {
					n.dirty = true
					break
				}
			}
		}
		if err := b.explore(); err != nil {
			return err
		}
	}
}
