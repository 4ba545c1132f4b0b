package summary

import (
	"strings"

	"syspart/internal/cfg"
	"syspart/internal/value"
)

// signalFunc says what a function of libc is, by its name (signal.h, setjmp.h, unistd.h).
func signalFunc(name string) value.SignalFunc {
	switch name {
	case "sigemptyset", "sigfillset", "sigaddset", "sigdelset":
		return value.SignalSet
	case "sigaction", "__sigaction", "__libc_sigaction":
		return value.SigAction
	}
	switch strings.TrimLeft(name, "_") {
	case "setjmp", "sigsetjmp", "vfork", "getcontext", "savectx":
		return value.ReturnsTwice
	}
	return value.NoSignal
}

// findSignals finds the functions of the file that are of interest to value.
func (b *builder) findSignals() {
	b.signalFuncs = map[uint64]value.SignalFunc{}
	for _, f := range b.graph.Funcs {
		if k := b.signalOf(f); k != value.NoSignal {
			b.signalFuncs[f.Entry] = k
		}
	}
}

// signals says what the function at va is.
func (b *builder) signals(va uint64) value.SignalFunc { return b.signalFuncs[va] }

// signalOf says what f is, through its PLT stub if it is one.
func (b *builder) signalOf(f *cfg.Func) value.SignalFunc {
	if !f.Stub {
		return signalFunc(f.Name)
	}
	if p, ok := b.mod.PtrAt(f.Slot); ok && p.Sym != 0 {
		return signalFunc(b.mod.Dyn.Symbols[p.Sym].Name)
	}
	return value.NoSignal
}

// SignalOf says what function i is, by its own name.
func (m *Module) SignalOf(i int) value.SignalFunc {
	if f := &m.Funcs[i]; f.Name.Len > 0 && f.Flags&Stub == 0 {
		return signalFunc(m.String(f.Name))
	}
	return value.NoSignal
}
