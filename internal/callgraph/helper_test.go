package callgraph

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"syspart/internal/image"
	"syspart/internal/link"
	"syspart/internal/summary"
)

var levels = []Level{LevelA, LevelB, LevelC, LevelD, LevelE}

// summaries keeps what was summarised: several tests load the same libraries.
var summaries sync.Map // path to func() (*summary.Module, error)

func summarize(path string, data []byte) (*summary.Module, error) {
	build := sync.OnceValues(func() (*summary.Module, error) {
		if data == nil {
			var err error
			if data, err = os.ReadFile(path); err != nil {
				return nil, err
			}
		}
		f, err := image.Parse(path, data)
		if err != nil {
			return nil, err
		}
		return summary.Build(f)
	})
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	f, _ := summaries.LoadOrStore(path, build)
	return f.(func() (*summary.Module, error))()
}

// load links a program with modules that it loads later.
func load(t testing.TB, exe string, later ...string) *link.Program {
	t.Helper()
	var extra []link.Extra
	for _, path := range later {
		extra = append(extra, link.Extra{Path: path, Optional: true})
	}
	p, err := link.Load(context.Background(), exe, link.Options{Modules: extra, Summarize: summarize})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// named returns the global number of the function of the executable that has a name.
func named(t testing.TB, g *Graph, name string) int32 {
	t.Helper()
	m := g.P.Modules[0]
	for i := range m.Funcs {
		if n := m.Funcs[i].Name; n.Len > 0 && m.String(n) == name {
			return int32(m.Base) + int32(i)
		}
	}
	t.Fatalf("%s: no function %s", m.Path, name)
	return -1
}

// label is a function for people: its module and name.
func label(g *Graph, f int32) string {
	m, _ := g.Func(f)
	return fmt.Sprintf("%s:%s", filepath.Base(m.Path), g.Name(f))
}
