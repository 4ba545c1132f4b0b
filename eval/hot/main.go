// Command hot writes a profile of where analyses spend their time, by which the compiler lays the program out
// (cmd/syspart/default.pgo).
//
//	hot FILE PROGRAM...
//
// Each program is analysed from its entry without a cache, three times.
package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime/pprof"
	"syscall"

	"syspart/internal/pipeline"
)

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: hot FILE PROGRAM...")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := write(ctx, os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "hot:", err)
		os.Exit(1)
	}
}

func write(ctx context.Context, file string, programs []string) error {
	var b bytes.Buffer
	if err := pprof.StartCPUProfile(&b); err != nil {
		return err
	}
	for range 3 {
		for _, p := range programs {
			path, err := exec.LookPath(p)
			if err != nil {
				return err
			}
			if path, err = filepath.EvalSymlinks(path); err != nil {
				return err
			}
			if _, err := pipeline.Analyze(ctx, path, []string{"entry"}, pipeline.Options{NoCache: true}); err != nil {
				return err
			}
		}
	}
	pprof.StopCPUProfile()
	return os.WriteFile(file, b.Bytes(), 0o644)
}
