// Command rewrite holds package elfwrite against the programs of a directory: each is rewritten with a segment whose code
// only goes on to the old entry point, and asked for its --version, as an untouched copy under the same name is.
//
//	rewrite [-n LIMIT] [DIR]
//
// It prints a line for each program that behaves otherwise or is refused, and counts. Status 0: none behaves otherwise.
package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"syspart/internal/elfwrite"
	"syspart/internal/image"
)

func main() {
	limit := flag.Int("n", 0, "at most so many `programs`; 0: all")
	flag.Parse()
	dir := "/usr/bin"
	if flag.NArg() > 0 {
		dir = flag.Arg(0)
	}
	bad, err := run(dir, *limit)
	if err != nil {
		fmt.Fprintln(os.Stderr, "rewrite:", err)
		os.Exit(1)
	}
	if bad > 0 {
		os.Exit(1)
	}
}

// outcome is what a program did.
type outcome struct {
	stdout, stderr []byte
	status         string
}

func (o *outcome) equal(p *outcome) bool {
	return bytes.Equal(o.stdout, p.stdout) && bytes.Equal(o.stderr, p.stderr) && o.status == p.status
}

func run(dir string, limit int) (bad int, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0, err
	}
	work, err := os.MkdirTemp("", "syspart-rewrite.")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(work)
	counts := map[string]int{}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if fi, err := os.Lstat(path); err != nil || !fi.Mode().IsRegular() || fi.Mode()&(os.ModeSetuid|os.ModeSetgid) != 0 {
			continue
		}
		data, err := os.ReadFile(path)
		if err != nil || !bytes.HasPrefix(data, []byte("\x7fELF")) {
			continue
		}
		if limit > 0 && counts["programs"] >= limit {
			break
		}
		counts["programs"]++
		out, how, err := rewritten(path, data)
		if err != nil {
			if !errors.Is(err, elfwrite.ErrRefused) && !errors.Is(err, image.ErrArch) {
				bad++
			}
			counts["refused"]++
			fmt.Println("refused:", err)
			continue
		}
		counts[how]++
		before, err := ask(work, e.Name(), data)
		if err != nil {
			return bad, err
		}
		after, err := ask(work, e.Name(), out)
		if err != nil {
			return bad, err
		}
		if !before.equal(&after) {
			// Some say the time, or their process id.
			if again, err := ask(work, e.Name(), data); err == nil && !before.equal(&again) {
				counts["not the same between runs"]++
				continue
			}
			bad++
			fmt.Printf("%s: %s %q %q; rewritten %s %q %q\n", path, before.status, cut(before.stdout), cut(before.stderr), after.status, cut(after.stdout), cut(after.stderr))
			continue
		}
		counts["the same"]++
	}
	fmt.Println("| programs | the same | otherwise | refused | not the same between runs | table moved |\n|---|---|---|---|---|---|")
	fmt.Printf("| %d | %d | %d | %d | %d | %d |\n", counts["programs"], counts["the same"], bad, counts["refused"], counts["not the same between runs"], counts["moved"])
	return bad, nil
}

func cut(b []byte) []byte { return b[:min(len(b), 120)] }

// rewritten returns a file with a detour at its entry point.
func rewritten(path string, data []byte) (out []byte, how string, err error) {
	w, err := elfwrite.New(path, data)
	if err != nil {
		return nil, "", err
	}
	code := []byte{0xf3, 0x0f, 0x1e, 0xfa, 0xe9, 0, 0, 0, 0} // endbr64; jmp
	binary.LittleEndian.PutUint32(code[5:], uint32(int64(w.Image().Entry)-int64(w.Base()+uint64(len(code)))))
	w.SetCode(code)
	w.SetEntry(w.Base())
	how = "in place"
	if w.Moved() {
		how = "moved"
	}
	out, err = w.Bytes()
	return out, how, err
}

// ask runs a program with --version in an empty directory.
func ask(work, name string, data []byte) (outcome, error) {
	bin := filepath.Join(work, "bin")
	empty := filepath.Join(work, "empty")
	for _, d := range []string{bin, empty} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return outcome{}, err
		}
	}
	path := filepath.Join(bin, name)
	defer os.Remove(path)
	if err := os.WriteFile(path, data, 0o755); err != nil {
		return outcome{}, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "--version")
	cmd.Dir, cmd.Env = empty, []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", "HOME=" + empty}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &stdout, &stderr, time.Second
	err := cmd.Run()
	o := outcome{stdout.Bytes(), stderr.Bytes(), fmt.Sprint(cmd.ProcessState)}
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) && cmd.ProcessState == nil {
		o.status = err.Error()
	}
	return o, nil
}
