package link

import (
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"syspart/internal/summary"
)

// TestAhead: the summaries of what a program needs, directly or not, of what is guessed from its imports, and of what modules that
// are loaded later need, are under way before that of the program or of the module is there. What is guessed is no module by that.
func TestAhead(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4)) // as many may go on at once
	dir := t.TempDir()
	gcc(t, dir, "libdeep.so", "int deep(void) { return 1; }", "-shared", "-fPIC")
	gcc(t, dir, "libguess.so", "int guess(void) { return 1; }", "-shared", "-fPIC")
	gcc(t, dir, "libnear.so", "int deep(void); int near(void) { return deep(); }", "-shared", "-fPIC", "-L"+dir, "-ldeep", "-Wl,-rpath,$ORIGIN")
	gcc(t, dir, "libplug.so", "int deep(void); int plug(void) { return deep(); }", "-shared", "-fPIC", "-Wl,--no-as-needed", "-L"+dir, "-ldeep", "-lm", "-Wl,-rpath,$ORIGIN")
	prog := gcc(t, dir, "prog", "int near(void); int main(void) { return near(); }", "-L"+dir, "-lnear", "-Wl,-rpath,$ORIGIN", "-Wl,-rpath-link,"+dir)

	var mu sync.Mutex
	begun := map[string]bool{}
	changed := sync.NewCond(&mu)
	after := map[string][]string{"prog": {"libnear.so", "libdeep.so", "libc.so.6", "ld-linux-x86-64.so.2", "libguess.so"}, "libplug.so": {"libm.so.6"}}
	late := time.AfterFunc(20*time.Second, func() { mu.Lock(); begun = nil; mu.Unlock(); changed.Broadcast() })
	defer late.Stop()
	guess := func(imports []string) []string {
		if slices.Contains(imports, "near") {
			return []string{"libguess.so"}
		}
		return nil
	}
	p := load(t, prog, Options{NoVDSO: true, Guess: guess, Modules: []Extra{{Path: filepath.Join(dir, "libplug.so")}}, Summarize: func(path string, data []byte) (*summary.Module, error) {
		mu.Lock()
		defer mu.Unlock()
		name := filepath.Base(path)
		if begun != nil {
			begun[name] = true
		}
		changed.Broadcast()
		for _, other := range after[name] {
			for begun != nil && !begun[other] {
				changed.Wait()
			}
		}
		if begun == nil {
			t.Errorf("%s: what it needs is not begun", name)
		}
		return summarize(path, data)
	}})
	var got []string
	for _, m := range p.Modules {
		got = append(got, filepath.Base(m.Path))
	}
	if want := []string{"prog", "libnear.so", "libc.so.6", "libdeep.so", "ld-linux-x86-64.so.2", "libplug.so", "libm.so.6"}; !slices.Equal(got, want) {
		t.Errorf("modules %q, want %q", got, want)
	}
}

// TestTurns: of those who wait the one with the most to do comes first, and no more go on at once than may.
func TestTurns(t *testing.T) {
	turns := turns{free: 1}
	<-turns.ask(1)
	var order []int64
	var wg sync.WaitGroup
	for _, size := range []int64{3, 9, 1, 7} {
		turn := turns.ask(size)
		wg.Go(func() {
			<-turn
			order = append(order, size)
			turns.give()
		})
	}
	turns.give()
	wg.Wait()
	if want := []int64{9, 7, 3, 1}; !slices.Equal(order, want) {
		t.Errorf("turns of %d, want %d", order, want)
	}
	if turns.free != 1 || len(turns.waiting) != 0 {
		t.Errorf("%d free and %d waiting at the end", turns.free, len(turns.waiting))
	}
}
