// Command speed measures syspart on programs of rising size, beside yardsticks on the same files, the program and all the
// modules that it is analysed with: "objdump -d", and decoding every instruction of them once, by our own decoder and by
// x86asm. It prints the sections "Speed" and "Growth" of docs/anybinary.md.
//
// Times are those of the processor, user and system, so that what else the machine does hardly counts, and those that passed
// (wall); of some runs, made by turns, the median is taken, of decoding the least. Cold is an analysis from the entry without
// a cache, warm one that was made before, and linked one that finds all summaries in the cache but was not made before.
package main

import (
	"cmp"
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

	"golang.org/x/arch/x86/x86asm"

	"syspart/internal/decode"
	"syspart/internal/image"
)

// row is what was measured of one program.
type row struct {
	name                        string
	files                       int
	bytes                       int64 // of code
	insts                       int
	decode, x86asm              time.Duration
	objdump, cold, linked, warm cost
	calls                       int
}

// cost is what a run took, or of several runs the median of each.
type cost struct {
	cpu, wall time.Duration
	rss       int64 // KiB
}

func main() {
	bin := flag.String("syspart", "bin/syspart", "the `program` under test")
	runs := flag.Int("runs", 5, "the median of `n` runs counts")
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
	summaries, answers := filepath.Join(cache, "summaries"), filepath.Join(cache, "answers")
	if _, _, err := run(bin, "analyze", "--from", "main", "--cache-dir", summaries, path); err != nil {
		return row{}, err
	}
	text, _, err := run(bin, "analyze", "-o", "json", "--from", "entry", "--cache-dir", answers, path)
	if err != nil {
		return row{}, err
	}
	if err := json.Unmarshal(text, &analysis); err != nil {
		return row{}, err
	}
	r.calls = len(analysis.Sets[0].Calls)
	files := []string{path} // which the modules are those of
	for _, m := range analysis.Modules {
		if !strings.HasPrefix(m.Path, "[") {
			files = append(files, m.Path)
		}
	}
	r.files = len(files)
	var objdump, cold, linked, warm []cost // by turns: a machine is not always as fast
	for i := range runs {
		fresh := filepath.Join(cache, fmt.Sprint("fresh", i)) // a run leaves its answer there
		if err := copyLinks(summaries, fresh); err != nil {
			return row{}, err
		}
		for _, c := range []struct {
			costs *[]cost
			cache []string
		}{{&cold, []string{"--no-cache"}}, {&linked, []string{"--cache-dir", fresh}}, {&warm, []string{"--cache-dir", answers}}} {
			args := append([]string{"analyze", "-o", "names", "--from", "entry", path}, c.cache...)
			_, once, err := run(bin, args...)
			if err != nil {
				return row{}, err
			}
			*c.costs = append(*c.costs, once)
		}
		var all cost
		for _, file := range files {
			_, once, err := run("objdump", "-d", file)
			if err != nil {
				return row{}, err
			}
			all.cpu += once.cpu
			all.wall += once.wall
		}
		objdump = append(objdump, all)
	}
	r.objdump, r.cold, r.linked, r.warm = median(objdump), median(cold), median(linked), median(warm)
	for _, file := range files {
		if err := decodeAll(&r, file, runs); err != nil {
			return row{}, err
		}
	}
	return r, nil
}

// median returns the medians of what runs took.
func median(runs []cost) cost {
	return cost{middle(runs, func(c cost) time.Duration { return c.cpu }), middle(runs, func(c cost) time.Duration { return c.wall }),
		middle(runs, func(c cost) int64 { return c.rss })}
}

func middle[N cmp.Ordered](runs []cost, of func(cost) N) N {
	var all []N
	for _, c := range runs {
		all = append(all, of(c))
	}
	slices.Sort(all)
	return all[len(all)/2]
}

// copyLinks makes a directory with the same files, which are replaced, never changed.
func copyLinks(from, to string) error {
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	if err := os.Mkdir(to, 0o700); err != nil {
		return err
	}
	for _, e := range entries {
		if err := os.Link(filepath.Join(from, e.Name()), filepath.Join(to, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// run runs a program and returns its output and what it took.
func run(name string, args ...string) ([]byte, cost, error) {
	cmd := exec.Command(name, args...)
	var out strings.Builder
	if filepath.Base(name) != "objdump" { // its output is as large as it is of no use
		cmd.Stdout = &out
	}
	var msg strings.Builder
	cmd.Stderr = &msg
	start := time.Now()
	if err := cmd.Run(); err != nil {
		return nil, cost{}, errors.Join(err, errors.New(msg.String()))
	}
	c := cost{cpu: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), wall: time.Since(start), rss: cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss}
	return []byte(out.String()), c, nil
}

// decodeAll decodes a file's code from end to end, with our own decoder and with golang.org/x/arch/x86/x86asm, which does not know
// all instructions: their lengths are then ours.
func decodeAll(r *row, path string, runs int) error {
	f, err := image.Open(path)
	if err != nil {
		return err
	}
	var lens []byte
	insts, size := 0, int64(0)
	own := least(runs, func() {
		var in decode.Inst
		each(f, func(code []byte, va uint64) int {
			decode.Decode(code, va, &in)
			return int(in.Len)
		})
	})
	each(f, func(code []byte, va uint64) int {
		var in decode.Inst
		decode.Decode(code, va, &in)
		lens = append(lens, in.Len)
		insts, size = insts+1, size+int64(in.Len)
		return int(in.Len)
	})
	foreign := least(runs, func() {
		k := 0
		each(f, func(code []byte, _ uint64) int {
			x86asm.Decode(code, 64)
			k++
			return int(lens[k-1])
		})
	})
	r.insts += insts
	r.bytes += size
	r.decode += own
	r.x86asm += foreign
	return nil
}

// each calls visit for each instruction of a file with the code from there on; visit returns the instruction's length.
func each(f *image.File, visit func(code []byte, va uint64) int) {
	for _, t := range f.Text() {
		code, _ := f.Bytes(t.Start, t.End-t.Start)
		for at := 0; at < len(code); {
			at += visit(code[at:], t.Start+uint64(at))
		}
	}
}

// least returns the least time of a processor that some runs of something take.
func least(runs int, do func()) time.Duration {
	runtime.LockOSThread() // whose time is taken
	defer runtime.UnlockOSThread()
	var least time.Duration
	for i := range runs {
		var before, after syscall.Rusage
		syscall.Getrusage(syscall.RUSAGE_THREAD, &before)
		do()
		syscall.Getrusage(syscall.RUSAGE_THREAD, &after)
		d := time.Duration(after.Utime.Nano() - before.Utime.Nano() + after.Stime.Nano() - before.Stime.Nano())
		if i == 0 || d < least {
			least = d
		}
	}
	return least
}

func report(rows []row) {
	fmt.Println("### Speed")
	fmt.Println()
	fmt.Println("| program | files | code, MiB | `objdump -d`, s | decoding, s | by x86asm, s | cold, s | cold / objdump | cold / decoding | cold / x86asm | linked, s | warm, s | warm / objdump | memory cold, linked, warm, MiB | calls |")
	fmt.Println("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
	for _, r := range rows {
		fmt.Printf("| %s | %d | %.1f | %.2f | %.2f | %.2f | %.2f | %.2f | %.1f | %.1f | %.2f | %.2f | %.3f | %d, %d, %d | %d |\n", r.name, r.files, float64(r.bytes)/(1<<20), r.objdump.cpu.Seconds(),
			r.decode.Seconds(), r.x86asm.Seconds(), r.cold.cpu.Seconds(), ratio(r.cold.cpu, r.objdump.cpu), ratio(r.cold.cpu, r.decode), ratio(r.cold.cpu, r.x86asm), r.linked.cpu.Seconds(), r.warm.cpu.Seconds(),
			ratio(r.warm.cpu, r.objdump.cpu), r.cold.rss>>10, r.linked.rss>>10, r.warm.rss>>10, r.calls)
	}
	fmt.Println()
	fmt.Printf("The same on a clock, on %d processors:\n", runtime.NumCPU())
	fmt.Println()
	fmt.Println("| program | `objdump -d`, s | cold, s | cold / objdump | linked, s | warm, s | warm / objdump |")
	fmt.Println("| --- | --- | --- | --- | --- | --- | --- |")
	for _, r := range rows {
		fmt.Printf("| %s | %.2f | %.2f | %.2f | %.2f | %.2f | %.3f |\n", r.name, r.objdump.wall.Seconds(), r.cold.wall.Seconds(), ratio(r.cold.wall, r.objdump.wall),
			r.linked.wall.Seconds(), r.warm.wall.Seconds(), ratio(r.warm.wall, r.objdump.wall))
	}
	fmt.Println()
	fmt.Println("### Growth")
	fmt.Println()
	fmt.Println("| program | instructions | cold, ns an instruction | | warm, ns an instruction | memory cold, bytes an instruction |")
	fmt.Println("| --- | --- | --- | --- | --- | --- |")
	for _, r := range rows {
		per := float64(r.cold.cpu.Nanoseconds()) / float64(r.insts)
		fmt.Printf("| %s | %d | %.0f | %s | %.0f | %.0f |\n", r.name, r.insts, per, strings.Repeat("█", max(1, int(per/50))), float64(r.warm.cpu.Nanoseconds())/float64(r.insts),
			float64(r.cold.rss<<10)/float64(r.insts))
	}
}

func ratio(a, b time.Duration) float64 { return a.Seconds() / b.Seconds() }
