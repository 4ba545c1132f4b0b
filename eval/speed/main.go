// Command speed measures syspart on programs of rising size, beside two yardsticks on the same files, the program and all
// the modules that it is analysed with: "objdump -d", and decoding every instruction of them once. It prints the sections
// "Speed" and "Growth" of docs/anybinary.md.
//
// All times are those of the processor, user and system, so that what else the machine does hardly counts; the least of
// some runs is taken. Cold is an analysis from the entry without a cache, warm one with all summaries in it.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"syspart/internal/decode"
	"syspart/internal/image"
)

// row is what was measured of one program.
type row struct {
	name                        string
	files                       int
	bytes                       int64 // of code
	insts                       int
	objdump, decode, cold, warm time.Duration
	coldRSS, warmRSS            int64 // KiB
	calls                       int
}

func main() {
	bin := flag.String("syspart", "bin/syspart", "the `program` under test")
	runs := flag.Int("runs", 3, "the least of `n` runs counts")
	flag.Parse()
	programs := flag.Args()
	if len(programs) == 0 {
		fmt.Fprintln(os.Stderr, "usage: speed [flags] PROGRAM...")
		os.Exit(2)
	}
	var rows []row
	failed := false
	for _, p := range programs {
		r, err := measure(*bin, p, *runs)
		if err != nil {
			fmt.Fprintf(os.Stderr, "speed: %s: %v\n", p, err)
			failed = true
			continue
		}
		rows = append(rows, r)
	}
	slices.SortStableFunc(rows, func(a, b row) int { return a.insts - b.insts })
	report(rows)
	if failed {
		os.Exit(1)
	}
}

func measure(bin, program string, runs int) (row, error) {
	path, err := exec.LookPath(program)
	if err != nil {
		return row{}, err
	}
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return row{}, err
	}
	cache, err := os.MkdirTemp("", "syspart-speed-")
	if err != nil {
		return row{}, err
	}
	defer os.RemoveAll(cache)
	r := row{name: filepath.Base(program)}
	var analysis struct {
		Modules []struct{ Path string } `json:"modules"`
		Sets    []struct{ Calls []string }
	}
	text, _, _, err := run(bin, "analyze", "-o", "json", "--from", "entry", "--cache-dir", cache, path) // fills the cache
	if err != nil {
		return row{}, err
	}
	if err := json.Unmarshal(text, &analysis); err != nil {
		return row{}, err
	}
	r.calls = len(analysis.Sets[0].Calls)
	best := func(d *time.Duration, rss *int64, argv ...string) error {
		for i := range runs {
			_, t, m, err := run(argv[0], argv[1:]...)
			if err != nil {
				return err
			}
			if i == 0 || t < *d {
				*d, *rss = t, m
			}
		}
		return nil
	}
	if err := best(&r.cold, &r.coldRSS, bin, "analyze", "-o", "names", "--from", "entry", "--no-cache", path); err != nil {
		return row{}, err
	}
	if err := best(&r.warm, &r.warmRSS, bin, "analyze", "-o", "names", "--from", "entry", "--cache-dir", cache, path); err != nil {
		return row{}, err
	}
	for _, m := range analysis.Modules {
		if strings.HasPrefix(m.Path, "[") {
			continue
		}
		r.files++
		var t time.Duration
		var rss int64
		if err := best(&t, &rss, "objdump", "-d", m.Path); err != nil {
			return row{}, err
		}
		r.objdump += t
		if err := decodeAll(&r, m.Path, runs); err != nil {
			return row{}, err
		}
	}
	return r, nil
}

// run runs a program and returns its output, its processor time, and its largest resident set in KiB.
func run(name string, args ...string) ([]byte, time.Duration, int64, error) {
	cmd := exec.Command(name, args...)
	var out strings.Builder
	if filepath.Base(name) != "objdump" { // its output is as large as it is of no use
		cmd.Stdout = &out
	}
	var msg strings.Builder
	cmd.Stderr = &msg
	if err := cmd.Run(); err != nil {
		return nil, 0, 0, errors.Join(err, errors.New(msg.String()))
	}
	u := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	return []byte(out.String()), cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), u.Maxrss, nil
}

// decodeAll decodes a file's code from end to end.
func decodeAll(r *row, path string, runs int) error {
	f, err := image.Open(path)
	if err != nil {
		return err
	}
	var least time.Duration
	runtime.LockOSThread() // whose time is taken
	defer runtime.UnlockOSThread()
	for i := range runs {
		var before, after syscall.Rusage
		syscall.Getrusage(syscall.RUSAGE_THREAD, &before)
		insts, size := 0, int64(0)
		for _, t := range f.Text() {
			code, _ := f.Bytes(t.Start, t.End-t.Start)
			var in decode.Inst
			for at := 0; at < len(code); at += int(in.Len) {
				decode.Decode(code[at:], t.Start+uint64(at), &in)
				insts++
			}
			size += int64(len(code))
		}
		syscall.Getrusage(syscall.RUSAGE_THREAD, &after)
		d := time.Duration(after.Utime.Nano() - before.Utime.Nano() + after.Stime.Nano() - before.Stime.Nano())
		if i == 0 {
			r.insts += insts
			r.bytes += size
		}
		if i == 0 || d < least {
			least = d
		}
	}
	r.decode += least
	return nil
}

func report(rows []row) {
	fmt.Println("### Speed")
	fmt.Println()
	fmt.Println("| program | files | code, MiB | `objdump -d`, s | decoding, s | cold, s | cold / objdump | cold / decoding | warm, s | warm / objdump | memory cold, warm, MiB | calls |")
	fmt.Println("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
	for _, r := range rows {
		fmt.Printf("| %s | %d | %.1f | %.2f | %.2f | %.2f | %.2f | %.1f | %.2f | %.3f | %d, %d | %d |\n", r.name, r.files, float64(r.bytes)/(1<<20), r.objdump.Seconds(),
			r.decode.Seconds(), r.cold.Seconds(), ratio(r.cold, r.objdump), ratio(r.cold, r.decode), r.warm.Seconds(), ratio(r.warm, r.objdump), r.coldRSS>>10, r.warmRSS>>10, r.calls)
	}
	fmt.Println()
	fmt.Println("### Growth")
	fmt.Println()
	fmt.Println("| program | instructions | cold, ns an instruction | | warm, ns an instruction | memory cold, bytes an instruction |")
	fmt.Println("| --- | --- | --- | --- | --- | --- |")
	for _, r := range rows {
		per := float64(r.cold.Nanoseconds()) / float64(r.insts)
		fmt.Printf("| %s | %d | %.0f | %s | %.0f | %.0f |\n", r.name, r.insts, per, strings.Repeat("█", max(1, int(per/50))), float64(r.warm.Nanoseconds())/float64(r.insts),
			float64(r.coldRSS<<10)/float64(r.insts))
	}
}

func ratio(a, b time.Duration) float64 { return a.Seconds() / b.Seconds() }
