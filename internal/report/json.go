package report

import (
	"encoding/json"
	"io"

	"syspart/internal/pipeline"
	"syspart/profile"
)

// schemaVersion is that of all JSON forms written here; it changes when a name or meaning does.
const schemaVersion = 1

// writeJSON writes an indented document that ends in a newline.
func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// list makes an absent list an empty one, which JSON writes as [].
func list[T any](l []T) []T {
	if l == nil {
		return []T{}
	}
	return l
}

type setJSON struct {
	From      string   `json:"from"`
	Functions int      `json:"functions"`
	Calls     []string `json:"calls"`
}

// AnalysisJSON writes an analysis as one document.
func AnalysisJSON(w io.Writer, a *pipeline.Analysis) error {
	sets := make([]setJSON, len(a.Sets))
	for i, s := range a.Sets {
		sets[i] = setJSON{s.From, s.Functions, s.Calls.Names()}
	}
	return writeJSON(w, struct {
		SchemaVersion  int                  `json:"schemaVersion"`
		Program        profile.Program      `json:"program"`
		Modules        []profile.Module     `json:"modules"`
		Functions      int                  `json:"functions"`
		AddressTaken   int                  `json:"addressTaken"`
		IndirectSites  int                  `json:"indirectSites"`
		Edges          int                  `json:"edges"`
		AverageTargets float64              `json:"averageTargets"`
		Sets           []setJSON            `json:"sets"`
		Unresolved     []profile.Unresolved `json:"unresolved"`
		Assumptions    []string             `json:"assumptions"`
	}{schemaVersion, profile.Program{Path: a.Path, SHA256: a.SHA256, BuildID: a.BuildID}, list(a.Modules), a.Functions,
		a.AddressTaken, a.IndirectSites, a.Edges, a.AverageTargets, sets, list(a.Unresolved), list(a.Assumptions)})
}

type loopJSON struct {
	Rank     int      `json:"rank"`
	Module   string   `json:"module"`
	Function string   `json:"function"`
	Entry    string   `json:"entry"`
	Header   string   `json:"header"`
	Depth    int      `json:"depth"`
	Blocking bool     `json:"blocking"`
	Calls    []string `json:"calls"`
}

// LoopsJSON writes loops as one document.
func LoopsJSON(w io.Writer, loops []pipeline.Loop) error {
	out := make([]loopJSON, len(loops))
	for i, l := range loops {
		out[i] = loopJSON{l.Rank, l.Module, l.Function, l.Entry, l.Header, l.Depth, l.Blocking, list(l.Calls)}
	}
	return writeJSON(w, struct {
		SchemaVersion int        `json:"schemaVersion"`
		Loops         []loopJSON `json:"loops"`
	}{schemaVersion, out})
}

// Site writes one indirect call site as a line of JSON.
func Site(w io.Writer, s pipeline.Site) error {
	s.Targets = list(s.Targets)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(s)
}

type kindJSON struct {
	Kind       string             `json:"kind"`
	Role       string             `json:"role"`
	Samples    int                `json:"samples"`
	Instances  int                `json:"instances"`
	Transition profile.Transition `json:"transition"`
	Init       []string           `json:"init"`
	Allowed    []string           `json:"allowed"`
	Serving    profile.Serving    `json:"serving"`
	Closed     []string           `json:"closed"`
	Dangerous  []string           `json:"dangerous"`
	AllOpen    bool               `json:"allOpen"`
	IOURing    bool               `json:"ioUring"`
	Purposes   []purposeJSON      `json:"purposes"`
	Attacks    *attacksJSON       `json:"attacks"`
}

// ProfileJSON writes what a profile allows for the chosen kinds ("" for all) and what that closes: per kind the union of
// the serving sets ("allowed"), the calls of its init phase that are denied afterwards ("closed"), the dangerous ones that
// stay open ("dangerous"); open and closed ones by purpose, and the published attacks that end with it.
func ProfileJSON(w io.Writer, p *profile.Profile, kind string) error {
	kinds := []kindJSON{}
	for i := range p.Threads {
		t := &p.Threads[i]
		if kind != "" && t.Kind != kind {
			continue
		}
		v := viewOf(t)
		tr, serving := t.Transition, t.Serving
		tr.Edges, tr.Stack = list(tr.Edges), list(tr.Stack)
		serving.Own, serving.Exec, serving.Enforcer = list(serving.Own), list(serving.Exec), list(serving.Enforcer)
		kinds = append(kinds, kindJSON{t.Kind, t.Role, t.Samples, t.Instances, tr, list(t.Init), v.serving.Names(), serving,
			v.init.Minus(v.serving).Names(), v.dangerous().Names(), v.allOpen(), v.ioUring(), purposesOf(&v), attacksOf(v.serving)})
	}
	return writeJSON(w, struct {
		SchemaVersion int                  `json:"schemaVersion"`
		Program       profile.Program      `json:"program"`
		Modules       []profile.Module     `json:"modules"`
		Threads       []kindJSON           `json:"threads"`
		Executes      []profile.Execute    `json:"executes"`
		Unresolved    []profile.Unresolved `json:"unresolved"`
		Assumptions   []string             `json:"assumptions"`
	}{schemaVersion, p.Program, list(p.Modules), kinds, list(p.Executes), list(p.Unresolved), list(p.Assumptions)})
}

type stepJSON struct {
	Module   string `json:"module"`
	Function string `json:"function"`
	Source   string `json:"source,omitempty"` // the function's name in its source, if the file has a mangled one
	Offset   string `json:"offset"`
	Kind     string `json:"kind"`
	Rule     string `json:"rule"`
}

type pathJSON struct {
	Kind    string     `json:"kind"`
	Phase   string     `json:"phase"`
	Syscall string     `json:"syscall"`
	Site    string     `json:"site"`
	Steps   []stepJSON `json:"steps"`
	Through []int      `json:"through"`
}

func pathsJSON(paths []pipeline.Path) []pathJSON {
	out := make([]pathJSON, len(paths))
	for i, p := range paths {
		steps := make([]stepJSON, len(p.Steps))
		for j, s := range p.Steps {
			steps[j] = stepJSON{Module: s.Module, Function: s.Function, Offset: s.Offset, Kind: s.Kind, Rule: s.Rule}
			if name := demangled(s.Function); name != s.Function {
				steps[j].Source = name
			}
		}
		out[i] = pathJSON{p.Kind, p.Phase, p.Syscall, p.Site, steps, list(p.Through)}
	}
	return out
}

// ExplanationJSON writes an explanation as one document.
func ExplanationJSON(w io.Writer, e *pipeline.Explanation) error {
	return writeJSON(w, struct {
		SchemaVersion int        `json:"schemaVersion"`
		Syscall       string     `json:"syscall"`
		Open          []pathJSON `json:"open"`
		Closed        []string   `json:"closed"`
		Before        []pathJSON `json:"before"`
	}{schemaVersion, e.Syscall, pathsJSON(e.Open), list(e.Closed), pathsJSON(e.Before)})
}
