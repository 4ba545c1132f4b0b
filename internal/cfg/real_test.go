package cfg

import (
	"os"
	"testing"
	"time"

	"syspart/internal/image"
)

func TestDebugStats(t *testing.T) {
	for _, p := range []string{"/usr/sbin/nginx", "/usr/bin/redis-server", "/lib/x86_64-linux-gnu/libc.so.6", "/lib/x86_64-linux-gnu/libcrypto.so.3", "/lib/x86_64-linux-gnu/libssl.so.3"} {
		f, err := image.Open(p)
		if err != nil {
			t.Log(err)
			continue
		}
		start := time.Now()
		g, err := Build(f)
		if err != nil {
			t.Error(p, err)
			continue
		}
		el := time.Since(start)
		insts, blocks, inc, ind, noret := 0, 0, 0, 0, 0
		for _, fn := range g.Funcs {
			insts += len(fn.Insts)
			blocks += len(fn.Blocks)
			if fn.Incomplete != "" {
				inc++
				if os.Getenv("CFGV") != "" {
					t.Logf("%#x %v %s: %s", fn.Entry, fn.Origin, fn.Name, fn.Incomplete)
				}
			}
			if fn.NoReturn {
				noret++
			}
			for i := range fn.Blocks {
				if fn.Blocks[i].Term == TermIndirect && !fn.Stub {
					ind++
				}
			}
		}
		t.Logf("%s: %v funcs %d insts %d blocks %d incomplete %d indirect %d noret %d tables %d orphans %d", p, el, len(g.Funcs), insts, blocks, inc, ind, noret, len(g.Tables), len(g.Orphans))
	}
}
