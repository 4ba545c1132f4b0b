package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"syspart/internal/callgraph"
	"syspart/internal/pipeline"
	"syspart/internal/syscalls"
	"syspart/profile"
)

// TestShort: names of kinds without what changes from build to build.
func TestShort(t *testing.T) {
	for kind, want := range map[string]string{
		"nginx:fn_0x51af0":               "nginx:fn_0x51af0",
		"libevent-2.1.so.7:run":          "libevent:run",
		"libisc-9.18.49-1-Debian.so:f<g": "libisc:f<g",
		"ld-linux-x86-64.so.2:f":         "ld-linux-x86-64:f",
		"libpcre2-8.so.0:f":              "libpcre2-8:f",
		"mod_mpm_event.so:fn_0xa0a0#2":   "mod_mpm_event:fn_0xa0a0#2",
		"libsomething.so.1:A::b(int)#2":  "libsomething:A::b(int)#2",
		"name without a module":          "name without a module",
	} {
		if got := short(kind); got != want || !matches(kind, want) || !matches(kind, kind) || matches(kind, "other") {
			t.Errorf("%s: %s, want %s", kind, got, want)
		}
	}
}

// TestLevels: letters of levels that do not exist are left out.
func TestLevels(t *testing.T) {
	got := parseLevels("zab?")
	if len(got) != 2 || got[0] != callgraph.LevelA || got[1] != callgraph.LevelB {
		t.Errorf("%v", got)
	}
}

// TestSeenCalls: of a table of what was seen, the calls through pointers between modules in the builds of the profile.
func TestSeenCalls(t *testing.T) {
	p := &profile.Profile{Program: profile.Program{Path: "/usr/sbin/d", BuildID: "aabb"},
		Modules: []profile.Module{{Path: "/lib/libx.so.1", BuildID: "ccdd"}, {Path: "/lib/liby.so.1", BuildID: "eeff"}}}
	const table = "#columns: whatever\n#module\td\td\td\taa\n#module\tlibx.so.1\tlibx.so.1\t-\tccdd\n#module\tliby.so.1\tliby.so.1\t-\t0011\n" +
		"d\t10\tlibx.so.1\t20\ticall\t3\nd\t11\tlibx.so.1\t21\tcall\t3\nd\t12\tliby.so.1\t22\ticall\t3\nlibx.so.1\t1a\td\tff\tijmp\t1\n"
	got, err := seenCalls(strings.NewReader(table), p)
	want := []pipeline.SeenCall{{Module: "d", Site: 0x10, To: "libx.so.1", Entry: 0x20}, {Module: "libx.so.1", Site: 0x1a, To: "d", Entry: 0xff}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := seenCalls(strings.NewReader("d\tx\td\t20\ticall\t3\n"), p); err == nil {
		t.Error("an address that is none is read")
	}
}

// TestTable: what is printed of a measure and of a surplus.
func TestTable(t *testing.T) {
	calls := syscalls.Of(0, 1, 60)
	m := &pipeline.Measure{Level: callgraph.LevelB, AddressTaken: 12, Sites: 3, Targets: 9.6, Functions: 40, Build: 2_600_000,
		Sets:  []pipeline.Set{{From: "entry", Calls: calls}, {From: "main", Calls: syscalls.Of(0)}},
		Kinds: []pipeline.Served{{Kind: "libx-1.2.so.3:loop", Role: profile.RoleThread, Functions: 7, Own: calls}}}
	s := server{Name: "demo", Levels: []row{rowOf(m)}, Floors: []int{2}}
	var out bytes.Buffer
	s.write(&out, "libx:loop")
	want := `### demo

| level | address-taken | sites | targets/site | functions | entry | main | libx:loop thread | ms |
|---|---|---|---|---|---|---|---|---|
| b | 12 | 3 | 10 | 40 | 3 | 1 | 3 | 3 |
| seen | | | | | | | 2 | |

libx:loop, level b: exit read write

`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
	out.Reset()
	e := excess{Server: "demo", Kind: "libx-1.2.so.3:loop", Level: "b", Seen: 5, Calls: []pipeline.Surplus{{Syscall: "mount",
		Site: pipeline.Place{Module: "libc.so.6", Function: "mount", Offset: "0x12"}, Edge: "indirect",
		From:   pipeline.Place{Module: "libx-1.2.so.3", Function: "loop", Offset: "0x34"},
		Target: pipeline.Place{Module: "demo", Function: "fn_0x56", Offset: "0x56"}, Why: "pointer in data, demo+0x78",
		Through: []pipeline.Place{{Module: "libc.so.6", Function: "mount"}, {Module: "demo", Function: "fn_0x56"}}}}}
	e.write(&out)
	for _, line := range []string{"### demo, libx:loop, level b: 1 beyond the 5 calls seen\n",
		"| mount | libc:mount | indirect | libx+0x34 | demo:fn_0x56 | pointer in data, demo+0x78 | libc:mount, demo:fn_0x56 |\n"} {
		if !strings.Contains(out.String(), line) {
			t.Errorf("no line %q in\n%s", line, out.String())
		}
	}
}

// TestRefused: what cannot be measured is an error, not an empty table.
func TestRefused(t *testing.T) {
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad.json")
	if err := os.WriteFile(bad, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		opt  options
		path string
	}{
		{options{levels: "?"}, bad},
		{options{levels: "a"}, bad},
		{options{levels: "a"}, filepath.Join(dir, "none.json")},
	} {
		var out bytes.Buffer
		if err := run(context.Background(), &out, c.opt, []string{c.path}); err == nil || out.Len() > 0 {
			t.Errorf("%+v: error %v, output %q", c, err, out.String())
		}
	}
}
