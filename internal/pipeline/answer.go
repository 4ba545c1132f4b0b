package pipeline

import (
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"sync"

	"syspart/internal/link"
	"syspart/internal/store"
	"syspart/internal/syscalls"
	"syspart/internal/view"
)

// An analysis is a function of what it is asked, of our own code, of the processor and the vDSO, and of what it sees of the
// file system. All but the last are an answer's key; with the answer is kept what was seen. It is given again only if all of
// that, down to the contents of the files, is the same: then another analysis could not say anything else. What does not
// decode, or does not hold any more, is computed anew and replaced.

// answer is a result with what it rests on.
type answer struct {
	Seen     []view.Note
	Analysis Analysis
	Calls    [][]int // by set of the analysis
}

// answerKey is the key of an analysis; false if our own code cannot be told from another version's.
func answerKey(binary string, from []string, opt *Options) (string, bool) {
	id := codeID()
	if id == "" {
		return "", false
	}
	vdso := "none"
	if data, err := link.ReadVDSO(); err == nil {
		sum := sha256.Sum256(data)
		vdso = hex.EncodeToString(sum[:])
	}
	parts := []string{"analysis", id, link.Processor(), vdso, binary, opt.Root, opt.Level.String(), strconv.FormatBool(opt.Plugins), fmt.Sprint(opt.ExecPolicy)}
	for _, l := range [...][]string{from, opt.Modules, opt.Exec} {
		parts = append(append(parts, strconv.Itoa(len(l))), l...)
	}
	return store.Key(parts...), true
}

// codeID is the Go linker's identification of the program that runs, which depends on all its code; "" if it has none.
var codeID = sync.OnceValue(func() string {
	f, err := elf.Open("/proc/self/exe")
	if err != nil {
		return ""
	}
	defer f.Close()
	s := f.Section(".note.go.buildid")
	if s == nil {
		return ""
	}
	data, err := s.Data()
	if err != nil {
		return ""
	}
	return hex.EncodeToString(data)
})

// recall returns the analysis that is kept under a key, if it still holds.
func (l *loader) recall(key string) (*Analysis, bool) {
	b, ok := l.cache.Get(key)
	if !ok {
		return nil, false
	}
	var a answer
	if err := json.Unmarshal(b, &a); err != nil || len(a.Calls) != len(a.Analysis.Sets) || len(a.Seen) == 0 || !view.Hold(a.Seen) {
		return nil, false
	}
	for i, c := range a.Calls {
		a.Analysis.Sets[i].Calls = syscalls.Of(c...)
	}
	return &a.Analysis, true
}

// remember keeps an analysis, unless files changed under its eyes.
func (l *loader) remember(key string, a *Analysis) {
	seen, ok := l.view.Notes()
	if !ok {
		return
	}
	kept := answer{Seen: seen, Analysis: *a}
	for i := range a.Sets {
		kept.Calls = append(kept.Calls, a.Sets[i].Calls.Numbers())
	}
	b, err := json.Marshal(&kept)
	if err != nil {
		return // a float that is no number
	}
	// A full disk costs time, not the result.
	_ = l.cache.Put(key, b)
}
