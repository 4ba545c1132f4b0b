package profile

import (
	"errors"
	"slices"
	"testing"
)

func kindOf(name string, offset string, own ...string) Thread {
	return Thread{Kind: name, Role: RoleMain, Samples: 2, Instances: 1, Transition: Transition{Module: "/d", Offset: offset, Entry: offset},
		Init: []string{"mmap"}, Serving: Serving{Own: own, Exec: []string{"execve"}, Enforcer: []string{}}}
}

func profileWith(kinds ...Thread) *Profile {
	return &Profile{SchemaVersion: SchemaVersion, Program: Program{Path: "/d", SHA256: "aa"}, Modules: []Module{{Path: "/l", SHA256: "bb"}}, Threads: kinds}
}

func TestDiff(t *testing.T) {
	a := profileWith(kindOf("one", "0x1", "read", "write"), kindOf("two", "0x2", "poll"), kindOf("same", "0x3", "read"))
	b := profileWith(kindOf("one", "0x1", "read", "sendto"), kindOf("three", "0x4", "poll"), kindOf("same", "0x3", "read"))
	got := Diff(a, b)
	want := []Change{{"one", "both", []string{"sendto"}, []string{"write"}}, {"three", "second", []string{"execve", "poll"}, []string{}},
		{"two", "first", []string{}, []string{"execve", "poll"}}}
	if !slices.EqualFunc(got, want, func(x, y Change) bool {
		return x.Kind == y.Kind && x.In == y.In && slices.Equal(x.Added, y.Added) && slices.Equal(x.Removed, y.Removed)
	}) {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got := Diff(a, a); len(got) != 0 {
		t.Errorf("of itself: %+v", got)
	}
}

func TestMerge(t *testing.T) {
	a := profileWith(kindOf("one", "0x1", "read"), kindOf("two", "0x2", "poll"))
	b := profileWith(kindOf("one", "0x1", "execve", "write"), kindOf("two", "0x9", "poll"))
	b.Modules = append(b.Modules, Module{Path: "/m", SHA256: "cc"})
	place := Unresolved{What: "dlopen", Module: "/l", Offset: "0x1", Effect: "unknown"}
	seen := func(names string) []Unresolved {
		u := place
		u.Seen = names
		return []Unresolved{u}
	}
	a.Unresolved, b.Unresolved = seen("one.so, two.so"), append(seen("one.so, three.so"), Unresolved{What: "dlsym", Effect: "unknown"})
	m, coverage, err := Merge(a, b)
	if err != nil {
		t.Fatal(err)
	}
	one := m.Kind("one")
	if !slices.Equal(one.Serving.Own, []string{"execve", "read", "write"}) || len(one.Serving.Exec) != 0 || one.Samples != 4 || one.Instances != 1 {
		t.Errorf("%+v", one)
	}
	if coverage["one"] != 2 || coverage["two"] != 1 || coverage["two#2"] != 1 || m.Kind("two#2") == nil || len(m.Modules) != 2 {
		t.Errorf("coverage %v, %d modules", coverage, len(m.Modules))
	}
	if want := append(seen("one.so, three.so, two.so"), Unresolved{What: "dlsym", Effect: "unknown"}); len(m.Unresolved) != 2 || !slices.Contains(m.Unresolved, want[0]) || !slices.Contains(m.Unresolved, want[1]) {
		t.Errorf("unresolved %+v", m.Unresolved)
	}
	if len(a.Threads) != 2 || len(a.Threads[0].Serving.Own) != 1 {
		t.Error("the first profile has changed")
	}
	other := profileWith(kindOf("one", "0x1", "read"))
	other.Program.SHA256 = "zz"
	if _, _, err := Merge(a, other); !errors.Is(err, ErrChanged) {
		t.Errorf("another program: %v", err)
	}
	other = profileWith(kindOf("one", "0x1", "read"))
	other.Modules[0].SHA256 = "zz"
	if _, _, err := Merge(a, other); !errors.Is(err, ErrChanged) {
		t.Errorf("another library: %v", err)
	}
}
