package pipeline

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"syspart/internal/callgraph"
	"syspart/internal/image"
	"syspart/internal/observe"
	"syspart/internal/syscalls"
	"syspart/profile"
)

// searchPath is where execvp and the shell look when PATH is not set (confstr(_CS_PATH) and Debian's login default).
var searchPath = []string{"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"}

// shell is what system and popen execute (glibc's sysdeps/posix/system.c).
const shell = "/bin/sh"

// maxScripts bounds how many interpreters stand between a script and a program, as the kernel does (fs/exec.c).
const maxScripts = 5

// programs analyses what a server executes: each program from its loader's first instruction on, with what it executes in
// turn.
type programs struct {
	l    *loader
	ctx  context.Context
	w    *widened
	list []profile.Execute
	done map[string]*executed // by path as asked for
}

// executed is a program.
type executed struct {
	needs    syscalls.Set
	executes []string
}

func (l *loader) newPrograms(ctx context.Context, w *widened) *programs {
	return &programs{l: l, ctx: ctx, w: w, list: []profile.Execute{}, done: map[string]*executed{}}
}

// sorted returns the programs by path.
func (ps *programs) sorted() []profile.Execute {
	slices.SortFunc(ps.list, func(a, b profile.Execute) int { return strings.Compare(a.Path, b.Path) })
	return ps.list
}

// needs returns what programs need, and those that they execute.
func (ps *programs) needs(paths []string) syscalls.Set {
	var all syscalls.Set
	seen := map[string]bool{}
	for i := 0; i < len(paths); i++ {
		e := ps.done[paths[i]]
		if e == nil || seen[paths[i]] {
			continue
		}
		seen[paths[i]] = true
		all = all.Union(e.needs)
		paths = append(paths[:len(paths):len(paths)], e.executes...)
	}
	return all
}

// add analyses a program, and those that it executes. A script stands for its interpreter.
func (ps *programs) add(path, found string) error {
	if ps.done[path] != nil {
		return nil
	}
	e := &executed{}
	ps.done[path] = e
	chain, err := ps.l.interpreters(path)
	if err != nil {
		ps.unreadable(path, found, err)
		return nil
	}
	if chain[0] != path {
		e.executes = chain
		for _, file := range chain {
			if err := ps.add(file, found); err != nil {
				return err
			}
		}
		return nil
	}
	g, err := ps.l.graph(ps.ctx, path, nil)
	if err != nil {
		if ps.ctx.Err() != nil {
			return ps.ctx.Err()
		}
		ps.unreadable(path, found, err)
		return nil
	}
	r := ps.l.entered(g)
	e.needs = r.Calls.Union(syscalls.Always())
	real := modulePath(g.P.Modules[0])
	if !slices.ContainsFunc(ps.list, func(x profile.Execute) bool { return x.Path == real }) {
		sum := g.P.Modules[0].SHA256
		ps.list = append(ps.list, profile.Execute{Path: real, SHA256: hex.EncodeToString(sum[:]), Found: found, Needs: e.needs.Names(),
			Privileges: ps.l.privileges(path)})
	}
	e.executes, _, err = ps.given(g, r)
	return err
}

// unreadable notes a program that cannot be analysed: its execution stays a gap, said loudly.
func (ps *programs) unreadable(path, found string, err error) {
	ps.list = append(ps.list, profile.Execute{Path: path, Found: found, Needs: []string{}})
	ps.w.put(profile.Unresolved{What: "execve", Effect: fmt.Sprintf("%s is executed, but cannot be analysed (%v): its calls are not allowed for", path, err)})
}

// given analyses the programs that reached code executes by names that are known, and lists the places where a name is not;
// gaps are how many of these there are.
func (ps *programs) given(g *callgraph.Graph, r *callgraph.Reach) (paths []string, gaps int, err error) {
	for _, s := range r.Given() {
		names, unknown := ps.l.executables(&s)
		for _, n := range names {
			if err := ps.add(n, profile.FoundStatic); err != nil {
				return nil, 0, err
			}
		}
		paths = append(paths, names...)
		if unknown != "" {
			gaps++
			ps.w.of(g).program(&s, unknown)
		}
	}
	return paths, gaps, nil
}

// executables returns the files that a place executes; unknown says why there may be others, "" if there are none.
func (l *loader) executables(s *callgraph.Given) (files []string, unknown string) {
	unknown = s.Unknown
	search := false
	switch s.Callee {
	case "dlopen", "dlmopen":
		return nil, ""
	case "system", "popen", "wordexp":
		files = append(files, l.locate(shell))
		for _, t := range s.Texts {
			words, ok := commands(t)
			if !ok {
				unknown = "a command line that is more than a list of programs"
			}
			for _, w := range words {
				if f := l.search(w); f != "" {
					files = append(files, f)
				}
			}
		}
		return files, unknown
	case "execvp", "execvpe", "execlp", "posix_spawnp":
		search = true
	}
	for _, t := range s.Texts {
		switch {
		case filepath.IsAbs(t):
			if f := l.locate(t); f != "" {
				files = append(files, f)
			}
		case search && !strings.Contains(t, "/"):
			if f := l.search(t); f != "" {
				files = append(files, f)
			}
		default:
			unknown = t + " depends on the working directory"
		}
	}
	return files, unknown
}

// locate returns a path of the root if there is a file: what is not there cannot be executed.
func (l *loader) locate(path string) string {
	if fi, err := l.view.Stat(filepath.Join("/", l.opt.Root, path)); err != nil || !fi.Mode().IsRegular() {
		return ""
	}
	return path
}

// search looks a program up as the shell does.
func (l *loader) search(name string) string {
	if strings.Contains(name, "/") {
		if filepath.IsAbs(name) {
			return l.locate(name)
		}
		return ""
	}
	for _, dir := range searchPath {
		if f := l.locate(dir + "/" + name); f != "" {
			return f
		}
	}
	return ""
}

// commands returns the programs that a command line of the shell names: the first word of each simple command. ok is false
// if it has anything that could name others: expansions, subshells, words that take programs as arguments.
func commands(line string) (words []string, ok bool) {
	ok = !strings.ContainsAny(line, "$`(){}\\*?[~")
	simple := strings.FieldsFunc(line, func(r rune) bool { return r == ';' || r == '|' || r == '&' || r == '\n' })
	for _, c := range simple {
		for _, w := range strings.Fields(c) {
			if strings.Contains(w, "=") || strings.ContainsAny(w, "<>") {
				continue // an assignment, a redirection
			}
			w = strings.Trim(w, `"'`)
			switch w {
			case "exec", "command", "nohup", "nice", "time", "env", "sudo", "xargs", "if", "then", "while", "do", "else", "!":
				ok = false
			}
			words = append(words, w)
			break
		}
	}
	return words, ok
}

// interpreters returns the file that the kernel executes for path and, if that is the interpreter of a script which looks
// another program up, that one too (#!/usr/bin/env).
func (l *loader) interpreters(path string) ([]string, error) {
	file := path
	var arg string
	for i := 0; ; i++ {
		line, script, err := l.script(file)
		if err != nil {
			return nil, err
		}
		if !script {
			break
		}
		if i == maxScripts {
			return nil, fmt.Errorf("%s: more than %d interpreters: %w", path, maxScripts, image.ErrNotELF)
		}
		name, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		if name == "" {
			return nil, fmt.Errorf("%s: a script without interpreter: %w", path, image.ErrNotELF)
		}
		file, arg = name, strings.TrimSpace(rest)
	}
	chain := []string{file}
	if filepath.Base(file) == "env" && arg != "" {
		for _, w := range strings.Fields(arg) {
			if strings.HasPrefix(w, "-") || strings.Contains(w, "=") {
				continue
			}
			if f := l.search(w); f != "" {
				chain = append(chain, f)
			}
			break
		}
	}
	return chain, nil
}

// script returns the first line of a script, without #!; false if a file is none.
func (l *loader) script(path string) (line string, is bool, err error) {
	b, err := l.view.Head(filepath.Join("/", l.opt.Root, path))
	if err != nil {
		return "", false, err
	}
	if len(b) < 2 {
		return "", false, fmt.Errorf("%s: neither an ELF file nor a script: %w", path, image.ErrNotELF)
	}
	text, is := strings.CutPrefix(string(b), "#!")
	if !is {
		return "", false, nil
	}
	line, _, _ = strings.Cut(text, "\n")
	return line, true, nil
}

// privileges says what a program would gain when executed, and does not under a filter of a process without CAP_SYS_ADMIN
// (NO_NEW_PRIVS; execve(2)): "" if nothing.
func (l *loader) privileges(path string) string {
	var out []string
	host := filepath.Join("/", l.opt.Root, path)
	if fi, err := l.view.Stat(host); err == nil {
		st := fi.Sys().(*syscall.Stat_t)
		if st.Mode&unix.S_ISUID != 0 {
			out = append(out, fmt.Sprintf("set-user-ID %d", st.Uid))
		}
		if st.Mode&unix.S_ISGID != 0 && st.Mode&unix.S_IXGRP != 0 {
			out = append(out, fmt.Sprintf("set-group-ID %d", st.Gid))
		}
	}
	if has, err := l.view.HasXattr(host, "security.capability"); has {
		out = append(out, "file capabilities")
	} else if err != nil && !errors.Is(err, unix.ENODATA) && !errors.Is(err, unix.ENOTSUP) && !errors.Is(err, unix.ENOENT) {
		out = append(out, "file capabilities cannot be read")
	}
	if len(out) == 0 {
		return ""
	}
	return strings.Join(out, ", ") + ": not granted under NO_NEW_PRIVS"
}

// seen analyses the programs that a run showed, and those that the user named.
func (ps *programs) seen(execs []observe.Exec) (paths []string, err error) {
	for _, path := range ps.l.opt.Exec {
		if err := ps.add(path, profile.FoundGiven); err != nil {
			return nil, err
		}
		paths = append(paths, path)
	}
	for _, e := range execs {
		if e.Path == "" {
			continue
		}
		if err := ps.add(e.Path, profile.FoundObserved); err != nil {
			return nil, err
		}
		paths = append(paths, e.Path)
	}
	return paths, nil
}
