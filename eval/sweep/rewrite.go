package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"syspart/internal/decode"
	"syspart/internal/elfwrite"
)

// rewritten is what came out for one program.
type rewritten struct {
	path    string
	skipped string // why it was not rewritten or not run
	moved   bool   // its program headers moved
	faults  []string
}

// answer is all that a program run with --version shows.
type answer struct {
	stdout, stderr string
	status         string
}

// errEntry: the first instructions cannot be moved by copying them.
var errEntry = errors.New("first instructions depend on where they stand")

// rewrite checks that programs with a stub at their entry that does nothing answer as before, and that tools of binutils and
// the loader take them.
func rewrite(ctx context.Context, opt options) (bool, error) {
	for _, tool := range []string{"readelf", "strip", "ldd"} {
		if _, err := exec.LookPath(tool); err != nil {
			return false, fmt.Errorf("%s is not installed (Debian packages binutils, libc-bin)", tool)
		}
	}
	paths, err := programs(opt)
	if err != nil {
		return false, err
	}
	work, err := os.MkdirTemp("", "syspart-rewrite-")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(work)
	caged := exec.Command(cage[0], append(append([]string{}, cage[1:]...), work, "true")...).Run() == nil
	if !caged {
		fmt.Fprintln(opt.out, "no namespaces here: programs run without a cage")
	}
	results := each(ctx, opt.jobs, paths, func(path string) rewritten { return rewriteOne(ctx, work, caged, path) })
	return judgeRewrite(opt, results), ctx.Err()
}

func rewriteOne(ctx context.Context, work string, caged bool, path string) rewritten {
	r := rewritten{path: path, skipped: whySkipped(path)}
	if r.skipped != "" {
		return r
	}
	data, err := os.ReadFile(path)
	if err != nil {
		r.skipped = err.Error()
		return r
	}
	out, moved, err := detour(path, data)
	switch {
	case errors.Is(err, elfwrite.ErrRefused), errors.Is(err, errEntry):
		r.skipped = strings.TrimPrefix(err.Error(), path+": ")
		return r
	case err != nil:
		r.faults = append(r.faults, err.Error())
		return r
	}
	r.moved = moved
	dir, err := os.MkdirTemp(work, "file")
	if err != nil {
		r.faults = append(r.faults, err.Error())
		return r
	}
	defer os.RemoveAll(dir)
	// Copies under the same name in like places: programs tell what they are called, and look for files beside theirs.
	files := make(map[string]string)
	for name, content := range map[string][]byte{"old": data, "new": out} {
		files[name] = filepath.Join(dir, name, filepath.Base(path))
		if err = os.Mkdir(filepath.Join(dir, name), 0o755); err == nil {
			err = os.WriteFile(files[name], content, 0o755)
		}
		if err != nil {
			r.faults = append(r.faults, err.Error())
			return r
		}
	}
	before := ask(ctx, dir, caged, files["old"])
	if again := ask(ctx, dir, caged, files["old"]); again != before {
		r.skipped = "answers differently each time"
		return r
	}
	// Programs that start others answer in one of several orders: the old file must be seen to give the new one's answer.
	given := map[answer]bool{before: true}
	differs := func(got answer) bool {
		for i := 0; i < 20 && !given[got]; i++ {
			given[ask(ctx, dir, caged, files["old"])] = true
		}
		return !given[got]
	}
	if got := ask(ctx, dir, caged, files["new"]); differs(got) {
		r.faults = append(r.faults, fmt.Sprintf("answers %q instead of %q", got, before))
	}
	if a, b := complaints(files["old"]), complaints(files["new"]); b > a {
		r.faults = append(r.faults, fmt.Sprintf("readelf complains %d times instead of %d", b, a))
	}
	if a, b := libraries(files["old"]), libraries(files["new"]); a != b {
		r.faults = append(r.faults, fmt.Sprintf("ldd says %q instead of %q", b, a))
	}
	if moved {
		return r
	}
	short := filepath.Join(dir, "strip", filepath.Base(path))
	if err := os.Mkdir(filepath.Dir(short), 0o755); err != nil {
		r.faults = append(r.faults, err.Error())
		return r
	}
	if text, err := exec.Command("strip", "-o", short, files["new"]).CombinedOutput(); err != nil {
		r.faults = append(r.faults, fmt.Sprintf("strip: %v %s", err, text))
	} else if got := ask(ctx, dir, caged, short); differs(got) {
		r.faults = append(r.faults, fmt.Sprintf("after strip answers %q instead of %q", got, before))
	}
	return r
}

// detour moves the first instructions at the entry, five bytes or more, into a new segment, with a jump there and one back.
func detour(path string, data []byte) (out []byte, moved bool, err error) {
	w, err := elfwrite.New(path, data)
	if err != nil {
		return nil, false, err
	}
	entry := w.Image().Entry
	text := w.Image().Tail(entry)
	const jump = 5
	var code []byte
	for n := 0; n < jump; {
		var in decode.Inst
		if !decode.Decode(text[n:], entry+uint64(n), &in) {
			return nil, false, errEntry
		}
		switch to := uint64(in.Imm); {
		case in.Op == decode.OpJmp && in.Flags&decode.Indirect == 0 && int(in.Len) == jump && n == 0:
			code = rel32(code, w.Base(), to) // leads on by itself
		case in.Op == decode.OpCall, in.Op == decode.OpJmp, in.Op == decode.OpJcc, in.Op == decode.OpRet, in.Op == decode.OpSyscall,
			in.Flags&decode.HasMem != 0 && in.Base == decode.RIP:
			return nil, false, errEntry
		default:
			code = append(code, text[n:n+int(in.Len)]...)
		}
		n += int(in.Len)
	}
	n := len(code)
	w.SetCode(rel32(code, w.Base(), entry+uint64(n)))
	w.AddFrame(elfwrite.Frame{Start: w.Base(), Size: uint64(n + jump), Insts: []byte{0x07, 16}})
	patch := append(rel32(nil, entry, w.Base()), bytes.Repeat([]byte{0x90}, n-jump)...)
	if err := w.Patch(elfwrite.Patch{Addr: entry, Old: text[:n], New: patch}); err != nil {
		return nil, false, err
	}
	out, err = w.Bytes()
	return out, w.Moved(), err
}

// rel32 appends to code, which lies at base, a jump to an address.
func rel32(code []byte, base, to uint64) []byte {
	return binary.LittleEndian.AppendUint32(append(code, 0xe9), uint32(to-base-uint64(len(code))-5))
}

// ask runs a program with --version in an empty directory, without input.
func ask(ctx context.Context, work string, caged bool, path string) answer {
	dir := filepath.Join(work, "run")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return answer{status: err.Error()}
	}
	defer os.RemoveAll(dir)
	argv := []string{path, "--version"}
	if caged {
		argv = append(append(append([]string{}, cage...), dir), argv...)
	}
	ctx, cancel := context.WithTimeout(ctx, traceLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=" + dir, "LC_ALL=C", "TERM=dumb"}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	status := "ok"
	if err := cmd.Run(); err != nil {
		status = err.Error()
	}
	// The directories of the copies differ in one word.
	same := func(b bytes.Buffer) string {
		return strings.NewReplacer(filepath.Dir(path), "DIR").Replace(b.String())
	}
	return answer{same(stdout), same(stderr), status}
}

// complaints counts the lines that readelf writes about a file to its standard error.
func complaints(path string) int {
	var stderr bytes.Buffer
	cmd := exec.Command("readelf", "-Wa", path)
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		return 1 << 20
	}
	return strings.Count(stderr.String(), "\n")
}

// libraries returns what ldd says, without addresses.
func libraries(path string) string {
	out, err := exec.Command("ldd", path).CombinedOutput()
	var b strings.Builder
	for line := range strings.Lines(string(out)) {
		line, _, _ = strings.Cut(line, " (0x")
		fmt.Fprintln(&b, strings.ReplaceAll(strings.TrimSpace(line), path, "FILE"))
	}
	if err != nil {
		fmt.Fprintln(&b, err)
	}
	return b.String()
}

// judgeRewrite prints the table and returns whether all is well.
func judgeRewrite(opt options, results []rewritten) bool {
	var checked, skipped, moved, failed int
	fmt.Fprintf(opt.out, "%-44s %-7s %s\n", "program", "headers", "result")
	for _, r := range results {
		if r.skipped != "" {
			skipped++
			fmt.Fprintf(opt.out, "%-44s %-7s skipped: %s\n", r.path, "", r.skipped)
			continue
		}
		checked++
		where, result := "stay", "same"
		if r.moved {
			moved++
			where = "move"
		}
		if len(r.faults) > 0 {
			failed++
			result = "FAULT " + strings.Join(r.faults, "; ")
		}
		fmt.Fprintf(opt.out, "%-44s %-7s %.600s\n", r.path, where, result)
	}
	fmt.Fprintf(opt.out, "\nrewritten: %d  of these with program headers moved: %d  skipped: %d  faults: %d\n", checked, moved, skipped, failed)
	if checked < opt.min {
		fmt.Fprintf(opt.out, "fewer than %d rewritten\n", opt.min)
	}
	return failed == 0 && checked >= opt.min
}
