package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"regexp"
	"strings"
	"testing"

	"syspart/internal/enforce/attach"
	"syspart/internal/pipeline"
	"syspart/internal/syscalls"
	"syspart/profile"
)

func calls(names string) syscalls.Set {
	s, err := syscalls.FromNames(strings.Fields(names)...)
	if err != nil {
		panic(err)
	}
	return s
}

const libc = "/lib/libc.so.6"

func analysis() *pipeline.Analysis {
	return &pipeline.Analysis{
		Path: "/usr/sbin/d", SHA256: "aa", BuildID: "0a1b", Modules: []profile.Module{{Path: libc, Found: profile.FoundNeeded}},
		Sets: []pipeline.Set{
			{From: "entry", Calls: calls("read write execve"), Functions: 1234},
			{From: "argv", Calls: syscalls.All(), Functions: 7},
		},
		Functions: 54321, AddressTaken: 978, IndirectSites: 1, Edges: 1000000, AverageTargets: 45.67,
		Unresolved:  []profile.Unresolved{{What: "syscall number", Module: libc, Offset: "0x10", Function: "syscall", Effect: "opens all calls"}},
		Assumptions: []string{"code is not written at run time"},
	}
}

func document() *profile.Profile {
	return &profile.Profile{
		SchemaVersion: profile.SchemaVersion,
		Program:       profile.Program{Path: "/usr/sbin/d", BuildID: "0a1b"},
		Modules:       []profile.Module{{Path: libc, Found: profile.FoundNeeded}},
		Threads: []profile.Thread{
			{Kind: "cycle", Role: profile.RoleMain, Samples: 300, Instances: 1,
				Transition: profile.Transition{Module: "/usr/sbin/d", Offset: "0x5a10", Function: "fn_0x5a00+0x10"},
				Init:       strings.Fields("read write mount execve setuid"),
				Serving:    profile.Serving{Own: strings.Fields("read write mprotect"), Exec: []string{"execve", "read"}, Enforcer: []string{"prctl"}}},
			{Kind: "ring", Role: profile.RoleThread, Samples: 2, Instances: 2,
				Transition: profile.Transition{Module: libc, Offset: "0x20", Static: true},
				Init:       []string{"read"}, Serving: profile.Serving{Own: strings.Fields("read io_uring_enter")}},
			{Kind: "wide", Role: profile.RoleChild, Transition: profile.Transition{Module: libc, Offset: "0x30"},
				Serving: profile.Serving{Own: syscalls.All().Names()}},
		},
		Executes:    []profile.Execute{{Path: "/bin/sh", Found: profile.FoundStatic, Needs: []string{"read", "write"}}},
		Unresolved:  []profile.Unresolved{{What: "execve", Module: libc, Offset: "0x40", Effect: "execve stays open"}},
		Assumptions: []string{"nothing else is loaded"},
	}
}

func explanation() *pipeline.Explanation {
	return &pipeline.Explanation{
		Syscall: "execve",
		Open: []pipeline.Path{{Kind: "cycle", Phase: "serving", Syscall: "execve", Site: "libc.so.6 0xd5f0", Steps: []pipeline.Step{
			{Module: "/usr/sbin/d", Function: "fn_0x5a00", Offset: "0x5a10", Kind: "transition"},
			{Module: libc, Function: "execve", Offset: "0xd5e0", Kind: "plt", Rule: "symbol execve@GLIBC_2.2.5"}}, Through: []int{1}}},
		Closed: []string{"ring: closed after the transition; never needed"},
	}
}

// render runs one of the printers into a string.
func render(t *testing.T, f func(*bytes.Buffer) error) string {
	t.Helper()
	var buf bytes.Buffer
	if err := f(&buf); err != nil {
		t.Fatal(err)
	}
	return buf.String()
}

// contains compares whole lines without the space at their ends.
func contains(t *testing.T, out string, lines ...string) {
	t.Helper()
	all := strings.Split(out, "\n")
	for _, want := range lines {
		found := false
		for _, l := range all {
			found = found || strings.TrimSpace(l) == strings.TrimSpace(want)
		}
		if !found {
			t.Errorf("no line %q in\n%s", want, out)
		}
	}
}

func TestAnalysis(t *testing.T) {
	out := render(t, func(b *bytes.Buffer) error { return Analysis(b, analysis(), Style{}) })
	contains(t, out,
		"/usr/sbin/d  build-id 0a1b",
		"1 module, 54,321 live functions (978 address-taken), 1,000,000 edges",
		"1 indirect site with 45.7 targets on average",
		"FROM   FUNCTIONS  CALLS",
		"entry      1,234      3",
		"entry: 3 calls",
		"execve read write",
		"unresolved: 1 place",
		"! syscall number /lib/libc.so.6 0x10 (syscall)",
		"opens all calls",
		"- code is not written at run time",
		"The number of a system call comes from outside of the program, so every call stays open. Nothing")
	if !strings.Contains(out, "ALL OPEN") || !strings.Contains(out, "ALL calls are open") {
		t.Errorf("a set of all calls is not said loudly:\n%s", out)
	}
	if strings.Contains(out, "accept4") {
		t.Errorf("a set of all calls is listed by name:\n%s", out)
	}
}

func TestProfile(t *testing.T) {
	out := render(t, func(b *bytes.Buffer) error { return Profile(b, document(), "", Style{}) })
	contains(t, out,
		"1 module, 3 thread kinds, 1 executed program, 1 unresolved place",
		"! 1 place could not be resolved: what is open because of that is listed below",
		"main loop   /usr/sbin/d 0x5a10 (fn_0x5a00+0x10)",
		"evidence    300 samples of 1 thread",
		"open        3 calls of the server's own code",
		"data        read write",
		"memory      mprotect",
		"+ exec      execve",
		"+ enforcer  prctl",
		"closed      2 calls that its start needed",
		"identity    setuid",
		"mounts      mount",
		"attacks     23 of 36 published kernel exploits are out of reach: all calls that lead to them are closed",
		"return-oriented  makes memory executable                    0    3",
		"ranked statically: no run has shown that the thread enters it",
		"io_uring is allowed: it performs calls that no filter sees",
		"/bin/sh  static      2",
		"! execve /lib/libc.so.6 0x40",
		"- nothing else is loaded")
	for _, want := range []string{`cycle +main +300 +1 +5 +5 +3 +\d+ +2\n`, `wide +child +0 +0 +0 +\d+ +\d+ +0 +ALL\n`,
		`  mount +- +mount\* `, `  execute +execve +execveat\n`, `  memory +mprotect +memfd_create `} {
		if !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("no match of %q in\n%s", want, out)
		}
	}
	if n := strings.Count(out, "io_uring is allowed"); n != 1 {
		t.Errorf("io_uring note printed %d times", n)
	}
	one := render(t, func(b *bytes.Buffer) error { return Profile(b, document(), "ring", Style{}) })
	if strings.Contains(one, "cycle") || !strings.Contains(one, "ring (thread)") {
		t.Errorf("kind not selected:\n%s", one)
	}
}

func TestColorChangesNothingElse(t *testing.T) {
	escapes := regexp.MustCompile("\x1b\\[[0-9;]*m")
	for name, f := range map[string]func(*bytes.Buffer, Style) error{
		"analysis":    func(b *bytes.Buffer, s Style) error { return Analysis(b, analysis(), s) },
		"profile":     func(b *bytes.Buffer, s Style) error { return Profile(b, document(), "", s) },
		"explanation": func(b *bytes.Buffer, s Style) error { return Explanation(b, explanation(), s) },
		"check":       func(b *bytes.Buffer, s Style) error { return Check(b, document(), []error{errors.New("x")}, s) },
	} {
		bare := render(t, func(b *bytes.Buffer) error { return f(b, Style{}) })
		color := render(t, func(b *bytes.Buffer) error { return f(b, Style{Color: true}) })
		if strings.Contains(bare, "\x1b") || !strings.Contains(color, "\x1b") {
			t.Errorf("%s: colour where none was asked for, or none where it was", name)
		}
		if got := escapes.ReplaceAllString(color, ""); got != bare {
			t.Errorf("%s: colour changes the text\n%s\n%s", name, got, bare)
		}
	}
}

func TestExplanation(t *testing.T) {
	out := render(t, func(b *bytes.Buffer) error { return Explanation(b, explanation(), Style{}) })
	contains(t, out,
		"execve: open for 1 thread kind",
		"cycle, serving",
		"0  0x5a10  d          fn_0x5a00  transition",
		"1  0xd5e0  libc.so.6  execve     plt: symbol execve@GLIBC_2.2.5",
		"execve at libc.so.6 0xd5f0",
		"every way to it leads through step 1",
		"- ring: closed after the transition; never needed")
	e := explanation()
	e.Open[0].Through = []int{0, 1, 2}
	contains(t, render(t, func(b *bytes.Buffer) error { return Explanation(b, e, Style{}) }), "every way to it leads through steps 0, 1 and 2")
	e.Open, e.Before = nil, e.Open
	e.Before[0].Phase = "init"
	e.Before = append(e.Before, e.Before[0])
	out = render(t, func(b *bytes.Buffer) error { return Explanation(b, e, Style{}) })
	contains(t, out, "cycle, before the transition, path 1 of 2", "cycle, before the transition, path 2 of 2")
	contains(t, render(t, func(b *bytes.Buffer) error { return Explanation(b, e, Style{}) }), "execve: closed in every serving phase")
	e.Before = nil
	contains(t, render(t, func(b *bytes.Buffer) error { return Explanation(b, e, Style{}) }), "execve: not reachable in any phase")
}

// TestDemangled: names of C++ and Rust are those of the source; the JSON form has both.
func TestDemangled(t *testing.T) {
	for name, want := range map[string]string{
		"main": "main", "fn_0x10": "fn_0x10", "_start": "_start", "_exit+0x8": "_exit+0x8", "_Z": "_Z", "": "",
		"_ZN3srv4loop3runEi": "srv::loop::run", "_ZN3srv4loop3runEi+0x10": "srv::loop::run+0x10", "_Znwm@plt": "operator new@plt",
		"_ZN4core3fmt5Write9write_fmt17h0123456789abcdefE": "core::fmt::Write::write_fmt", "_RNvC6_123foo3bar": "123foo::bar",
	} {
		if got := demangled(name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	if got, want := inWords("in or used by _ZN3srv4loop3runEi; rule: level e, _Zebra"), "in or used by srv::loop::run; rule: level e, _Zebra"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	e := explanation()
	e.Open[0].Steps[1].Function = "_ZN3srv4loop3runEi"
	contains(t, render(t, func(b *bytes.Buffer) error { return Explanation(b, e, Style{}) }), "1  0xd5e0  libc.so.6  srv::loop::run  plt: symbol execve@GLIBC_2.2.5")
	contains(t, render(t, func(b *bytes.Buffer) error { return ExplanationJSON(b, e) }), `"function": "_ZN3srv4loop3runEi",`, `"source": "srv::loop::run",`, `"function": "fn_0x5a00",`)
}

func TestLoops(t *testing.T) {
	loops := []pipeline.Loop{
		{Module: "/d", Function: "g", Header: "0x20", Depth: 2, Rank: 2},
		{Module: "/d", Function: "f", Header: "0x10", Depth: 1, Rank: 1, Blocking: true, Calls: []string{"epoll_wait", "accept4"}},
	}
	contains(t, render(t, func(b *bytes.Buffer) error { return Loops(b, loops, Style{}) }),
		"RANK  MODULE  FUNCTION  HEADER  DEPTH  WAITS IN",
		"1  /d      f         0x10        1  epoll_wait accept4",
		"2  /d      g         0x20        2")
	contains(t, render(t, func(b *bytes.Buffer) error { return Loops(b, nil, Style{}) }), "no loop that waits for events was found")
	if loops[0].Rank != 2 {
		t.Error("Loops sorted the caller's slice")
	}
}

func TestCheck(t *testing.T) {
	contains(t, render(t, func(b *bytes.Buffer) error { return Check(b, document(), nil, Style{}) }), "fits /usr/sbin/d and its 1 module")
	contains(t, render(t, func(b *bytes.Buffer) error {
		return Check(b, document(), []error{&profile.MissingModule{Path: libc}}, Style{})
	}), "changed /lib/libc.so.6: was there when the server was profiled and is missing now; install it or profile the server again")
}

// TestSameCalls: a kind that may do what another may is not printed at the same length again; what its start needed is.
func TestSameCalls(t *testing.T) {
	doc := document()
	twin := doc.Threads[0]
	twin.Kind, twin.Init = "twin", []string{"chroot", "read"}
	doc.Threads = append(doc.Threads[:1], twin)
	out := render(t, func(b *bytes.Buffer) error { return Profile(b, doc, "", Style{}) })
	contains(t, out, "open        the same 5 calls as for cycle", "mounts      chroot", "while it serves, 5 of 385 calls are open in some thread; 3 that its start needed are closed in all")
	if n := strings.Count(out, "published kernel exploits"); n != 1 {
		t.Errorf("attacks printed %d times", n)
	}
	out = render(t, func(b *bytes.Buffer) error { return Profile(b, doc, "twin", Style{}) })
	contains(t, out, "open        3 calls of the server's own code")
}

// TestMeanings: whatever the analysis calls an unresolved place, an administrator is told what it means.
func TestMeanings(t *testing.T) {
	for _, m := range meanings {
		a := analysis()
		a.Unresolved = []profile.Unresolved{{What: m.what, Effect: "as it is"}}
		out := render(t, func(b *bytes.Buffer) error { return Analysis(b, a, Style{Width: 500}) })
		contains(t, out, m.text, "as it is")
	}
	a := analysis()
	a.Unresolved = []profile.Unresolved{{What: "something new", Effect: "as it is"}}
	contains(t, render(t, func(b *bytes.Buffer) error { return Analysis(b, a, Style{}) }), "! something new", "as it is")
}

// TestAssumptions: all of them are printed, in one of two groups.
func TestAssumptions(t *testing.T) {
	a := analysis()
	a.Assumptions = []string{"the processor is the same", "code is compiled"}
	out := render(t, func(b *bytes.Buffer) error { return Analysis(b, a, Style{}) })
	machine, code := strings.Index(out, "- the processor is the same"), strings.Index(out, "- code is compiled")
	if between := strings.Index(out, "Its code is what compilers make"); machine < 0 || between < machine || code < between {
		t.Errorf("not in their groups:\n%s", out)
	}
}

// TestWidth: a table's last column is wrapped under itself, everything else where the terminal ends.
func TestWidth(t *testing.T) {
	out := render(t, func(b *bytes.Buffer) error { return Explanation(b, explanation(), Style{Width: 60}) })
	contains(t, out, "1  0xd5e0  libc.so.6  execve     plt: symbol", strings.Repeat(" ", 36)+"execve@GLIBC_2.2.5")
	for _, columns := range []int{60, 90} {
		out := render(t, func(b *bytes.Buffer) error { return Profile(b, document(), "cycle", Style{Width: columns}) })
		for _, l := range strings.Split(out, "\n") {
			if strings.HasPrefix(l, "    ") && !strings.Contains(l, "  ") && width(l) > columns {
				t.Errorf("%d columns: %q", columns, l)
			}
		}
	}
}

// TestUnresolvedOrder: what opens every call stands before what opens little, and nothing is left out.
func TestUnresolvedOrder(t *testing.T) {
	a := analysis()
	a.Unresolved = []profile.Unresolved{{What: "dlsym", Effect: "1"}, {What: "code", Effect: "2"}, {What: "other", Effect: "3"}, {What: "syscall number", Effect: "4"}}
	out := render(t, func(b *bytes.Buffer) error { return Analysis(b, a, Style{}) })
	got := strings.Join(regexp.MustCompile(`(?m)^    [a-z!].*$`).FindAllString(out, -1), "")
	if want := "    ! syscall number    code    dlsym    ! other"; got != want {
		t.Errorf("order %q, want %q", got, want)
	}
	if a.Unresolved[0].What != "dlsym" {
		t.Error("the caller's list was sorted")
	}
}

func TestAttached(t *testing.T) {
	r := &attach.Result{Threads: []attach.Thread{
		{PID: 10, TID: 10, Comm: "d", Kind: "cycle", Status: attach.Installed},
		{PID: 10, TID: 11, Comm: "d", Kind: "cycle", Status: attach.Already},
		{PID: 10, TID: 12, Comm: "io\x1b", Status: attach.Outside},
		{PID: 10, TID: 13, Comm: "d", Kind: "cycle", Status: attach.Failed, Err: errors.New("no room")},
	}}
	contains(t, render(t, func(b *bytes.Buffer) error { return Attached(b, r, Style{}) }),
		"PID  TID  NAME    KIND   FILTER",
		"10   10  d       cycle  installed",
		"10   11  d       cycle  already installed",
		`10   12  io\x1b  -      none: not inside a serving loop of the profile`,
		"10   13  d       cycle  none: no room",
		"2 of 4 threads have their filter")
}

func TestNames(t *testing.T) {
	if out := render(t, func(b *bytes.Buffer) error { return Names(b, []string{"write", "read", "write"}) }); out != "read\nwrite\n" {
		t.Errorf("%q", out)
	}
	if out := render(t, func(b *bytes.Buffer) error { return Names(b, nil) }); out != "" {
		t.Errorf("no names: %q", out)
	}
}

func TestJSON(t *testing.T) {
	for name, f := range map[string]func(*bytes.Buffer) error{
		"analysis":    func(b *bytes.Buffer) error { return AnalysisJSON(b, analysis()) },
		"empty":       func(b *bytes.Buffer) error { return AnalysisJSON(b, &pipeline.Analysis{}) },
		"loops":       func(b *bytes.Buffer) error { return LoopsJSON(b, []pipeline.Loop{{}}) },
		"profile":     func(b *bytes.Buffer) error { return ProfileJSON(b, document(), "") },
		"one kind":    func(b *bytes.Buffer) error { return ProfileJSON(b, document(), "ring") },
		"explanation": func(b *bytes.Buffer) error { return ExplanationJSON(b, explanation()) },
	} {
		out := render(t, f)
		if again := render(t, f); again != out {
			t.Errorf("%s: differs between runs", name)
		}
		var doc map[string]any
		if err := json.Unmarshal([]byte(out), &doc); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if doc["schemaVersion"] != 1.0 {
			t.Errorf("%s: schemaVersion %v", name, doc["schemaVersion"])
		}
		if strings.Contains(out, "null") || !strings.HasSuffix(out, "}\n") {
			t.Errorf("%s: absent list or no final newline:\n%s", name, out)
		}
	}
	var doc struct {
		Threads []struct {
			Kind                       string
			Allowed, Closed, Dangerous []string
			AllOpen, IOURing           bool
			Purposes                   []purposeJSON
			Attacks                    attacksJSON
		}
	}
	out := render(t, func(b *bytes.Buffer) error { return ProfileJSON(b, document(), "") })
	if err := json.Unmarshal([]byte(out), &doc); err != nil {
		t.Fatal(err)
	}
	c := doc.Threads[0]
	if strings.Join(c.Allowed, " ") != "execve mprotect prctl read write" || strings.Join(c.Closed, " ") != "mount setuid" ||
		strings.Join(c.Dangerous, " ") != "execve mprotect" || c.AllOpen || c.IOURing {
		t.Errorf("%+v", c)
	}
	open, shut := 0, 0
	for _, x := range c.Purposes {
		open, shut = open+len(x.Open), shut+len(x.Closed)
	}
	if open != len(c.Allowed) || shut != len(c.Closed) {
		t.Errorf("by purpose %d are open and %d closed, by name %d and %d", open, shut, len(c.Allowed), len(c.Closed))
	}
	if n := len(c.Attacks.CVEs.Closed); n == 0 || n+len(c.Attacks.CVEs.Open) != 36 || len(c.Attacks.Payloads) == 0 {
		t.Errorf("attacks: %+v", c.Attacks)
	}
	if len(doc.Threads[2].Attacks.CVEs.Closed) > 0 {
		t.Errorf("with all calls open, closed are %v", doc.Threads[2].Attacks.CVEs.Closed)
	}
	if !doc.Threads[1].IOURing || !doc.Threads[2].AllOpen {
		t.Errorf("flags of %+v", doc.Threads[1:])
	}
}

func TestSite(t *testing.T) {
	out := render(t, func(b *bytes.Buffer) error {
		return Site(b, pipeline.Site{Module: "/d", Site: "0x10", Targets: [][2]string{{libc, "0x20"}}, Rule: "a<b"})
	})
	if want := `{"module":"/d","site":"0x10","targets":[["/lib/libc.so.6","0x20"]],"rule":"a<b"}` + "\n"; out != want {
		t.Errorf("got %q, want %q", out, want)
	}
}

func TestWrapAndClean(t *testing.T) {
	out := render(t, func(b *bytes.Buffer) error {
		p := newPrinter(b, Style{Width: 12})
		p.words(" x", 4, []string{"aaaa", "bbb", "cccc", "dddddddddddd"}, nil)
		return p.err
	})
	if want := " x  aaaa bbb\n    cccc\n    dddddddddddd\n"; out != want {
		t.Errorf("wrapped %q, want %q", out, want)
	}
	for in, want := range map[string]string{"/a b/ö": "/a b/ö", "a\x1b[31mb": `a\x1b[31mb`, "\xff": `\xff`, "a\nb": `a\nb`} {
		if got := clean(in); got != want {
			t.Errorf("clean(%q) = %q, want %q", in, got, want)
		}
	}
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1000: "-1,000"} {
		if got := group(n); got != want {
			t.Errorf("group(%d) = %s", n, got)
		}
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left") }

func TestWriteErrorsAreReported(t *testing.T) {
	if err := Profile(full{}, document(), "", Style{}); err == nil {
		t.Error("Profile hides that nothing could be written")
	}
	if err := Names(full{}, []string{"read"}); err == nil {
		t.Error("Names hides that nothing could be written")
	}
}

// TestSeen: what a run has shown is printed with the place, the first names of many.
func TestSeen(t *testing.T) {
	a := analysis()
	for names, want := range map[string]string{
		"a.so, b.so":                          "seen there: a.so, b.so\n",
		strings.Repeat("x.so, ", 11) + "y.so": "x.so and 2 more\n",
	} {
		a.Unresolved[0].Seen = names
		var b strings.Builder
		if err := Analysis(&b, a, Style{}); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is not in\n%s", want, b.String())
		}
	}
}
