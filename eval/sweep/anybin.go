package main

import (
	"context"
	"debug/elf"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"syspart/internal/syscalls"
)

// anybin analyses every x86-64 ELF file below the directories from its entry, libraries too, and prints how that ends as a
// section in Markdown. Only what ends badly, or takes too long, makes it fail.
func anybin(ctx context.Context, opt options) (bool, error) {
	paths, err := elfFiles(opt)
	if err != nil {
		return false, err
	}
	results := each(ctx, opt.jobs, paths, func(path string) analysis {
		a := analyze(ctx, opt, "entry", path)
		if a.clear != "" {
			a.err = nil // one clear line is an answer
		}
		return a
	})
	return judgeAnybin(opt, results), ctx.Err()
}

// elfFiles returns the programs and libraries below the directories, each file once under its real path, sorted.
func elfFiles(opt options) ([]string, error) {
	seen := make(map[string]bool)
	var out []string
	for _, dir := range opt.dirs {
		root, err := filepath.EvalSymlinks(dir)
		if err != nil {
			return nil, err
		}
		err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() || seen[path] || !strings.Contains(path, opt.match) {
				return nil
			}
			seen[path] = true
			if isModule(path) {
				out = append(out, path)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	sort.Strings(out)
	return out, nil
}

// isModule reports whether a file is an ELF program or library of any kind that the kernel or the loader could map.
func isModule(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	var b [20]byte
	if _, err := f.ReadAt(b[:], 0); err != nil || string(b[:4]) != elf.ELFMAG {
		return false
	}
	t := elf.Type(b[16])
	return b[5] == byte(elf.ELFDATA2LSB) && (t == elf.ET_EXEC || t == elf.ET_DYN)
}

func judgeAnybin(opt options, results []analysis) bool {
	all := syscalls.All()
	var answers, open, bad int
	reasons := make(map[string][]string) // error without names of files, to the files
	opened := []string{}
	slow, big := analysis{}, analysis{}
	within := 0
	for _, a := range results {
		switch {
		case a.err != nil:
			bad++
			reasons["**"+plainReason(a.err.Error(), a.path)+"**"] = append(reasons["**"+plainReason(a.err.Error(), a.path)+"**"], a.path)
		case a.clear != "":
			why := plainReason(a.clear, a.path)
			reasons[why] = append(reasons[why], a.path)
		default:
			answers++
			if a.calls.Len() >= all.Len() {
				open++
				opened = append(opened, a.path)
			}
		}
		if a.took > slow.took {
			slow = a
		}
		if a.rss > big.rss {
			big = a
		}
		if a.took.Seconds() < 1 {
			within++
		}
	}
	fmt.Fprintf(opt.out, "| files | answers | clear errors | bad ends | every call open | within 1 s of processor time | longest | most memory |\n")
	fmt.Fprintf(opt.out, "| --- | --- | --- | --- | --- | --- | --- | --- |\n")
	fmt.Fprintf(opt.out, "| %d | %d | %d | %d | %d | %d | %.1f s (%s) | %d MiB (%s) |\n\n", len(results), answers, len(results)-answers-bad, bad, open, within,
		slow.took.Seconds(), filepath.Base(slow.path), big.rss>>10, filepath.Base(big.path))
	for _, why := range sortedKeys(reasons) {
		fmt.Fprintf(opt.out, "- %d x %s: %s\n", len(reasons[why]), why, someNames(reasons[why]))
	}
	if open > 0 {
		fmt.Fprintf(opt.out, "- every call open: %s\n", someNames(opened))
	}
	if len(results) < opt.min {
		fmt.Fprintf(opt.out, "\nfewer than %d files\n", opt.min)
	}
	return bad == 0 && len(results) >= opt.min
}

// plainReason is an error without the file that it is about, so that equal ones can be counted.
func plainReason(text, path string) string {
	text = strings.TrimPrefix(strings.ReplaceAll(text, path, "FILE"), "syspart: ")
	if i := strings.Index(text, ", needed by "); i > 0 {
		if j := strings.Index(text[i:], ": "); j > 0 {
			text = text[:i] + text[i+j:]
		}
	}
	return text
}

// someNames lists the names of up to twelve files.
func someNames(paths []string) string {
	const most = 12
	var names []string
	for i, p := range paths {
		if i == most {
			return strings.Join(names, ", ") + fmt.Sprintf(" and %d others", len(paths)-most)
		}
		names = append(names, filepath.Base(p))
	}
	return strings.Join(names, ", ")
}
