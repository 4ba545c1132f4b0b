package callgraph

import (
	"strings"

	"syspart/internal/link"
	"syspart/internal/summary"
	"syspart/internal/value"
)

// maker is a function of libc that puts a string together in its first argument.
type maker struct {
	format int // argument with the format; -1: what is copied or appended
	text   int // argument that is copied or appended
	first  int // first argument that the format takes
	append bool
}

var makers = map[string]maker{
	"snprintf": {2, 0, 3, false}, "sprintf": {1, 0, 2, false}, "snprintf_chk": {4, 0, 5, false}, "sprintf_chk": {3, 0, 4, false},
	"strcpy": {-1, 1, 0, false}, "strcpy_chk": {-1, 1, 0, false}, "stpcpy": {-1, 1, 0, false}, "stpcpy_chk": {-1, 1, 0, false},
	"strcat": {-1, 1, 0, true}, "strcat_chk": {-1, 1, 0, true},
}

// looksOnly are functions of libc that read a string that they are given and do not change it.
var looksOnly = map[string]bool{"strlen": true, "strcmp": true, "strncmp": true, "access": true, "stat": true, "lstat": true, "open": true, "fopen": true,
	"puts": true, "strdup": true, "perror": true}

// maxBuilt bounds the strings that one place can have.
const maxBuilt = 64

// built adds the strings that a function puts together in its frame at off, of constant parts and of what it is given: by
// one call of a printf, or by a copy and what is appended to it. Anything else that is given the buffer may change it.
func (t *texts) built(f int32, m *link.Module, off int64, site uint32, depth int, via []CallRef) {
	g := t.r.G
	_, fn := g.fn(f)
	texts := []string(nil)
	for k := fn.Calls[0]; k < fn.Calls[1]; k++ {
		c := &m.Calls[k]
		given := false // the buffer, or a place in it
		exact := false
		for a, v := range c.Args {
			m.Each(v, func(_ int32, e value.Expr) {
				if e.Kind == value.Stack && (e.Any || e.Off >= off && e.Off < off+4096) {
					given = given || e.Any || e.Off == off
					exact = exact || a == 0 && !e.Any && e.Off == off
				}
			})
		}
		if !given || k == site {
			continue
		}
		name := g.calledName(m, c)
		if _, taker := summary.Takers[name]; taker || looksOnly[name] {
			continue
		}
		mk, ok := makers[name]
		if !ok || !exact || c.Site > m.Calls[site].Site {
			t.fail("put together at run time", via)
			return
		}
		parts, ok := t.made(f, m, c, mk, depth, via)
		switch {
		case !ok || mk.append && texts == nil || !mk.append && texts != nil:
			t.fail("put together at run time", via)
			return
		case mk.append:
			texts = product(texts, parts)
		default:
			texts = parts
		}
	}
	if texts == nil {
		t.fail("put together at run time", via)
	}
	t.found = append(t.found, texts...)
}

// made returns the strings that one call makes; false if they are not known.
func (t *texts) made(f int32, m *link.Module, c *summary.Call, mk maker, depth int, via []CallRef) ([]string, bool) {
	if mk.format < 0 {
		return t.operand(f, m, argument(c, mk.text), depth, via)
	}
	formats, ok := t.operand(f, m, argument(c, mk.format), depth, via)
	if !ok || len(formats) != 1 {
		return nil, false
	}
	out := []string{""}
	next := mk.first
	for rest := formats[0]; rest != ""; {
		i := strings.IndexByte(rest, '%')
		if i < 0 {
			out = product(out, []string{rest})
			break
		}
		out = product(out, []string{rest[:i]})
		switch {
		case strings.HasPrefix(rest[i:], "%%"):
			out = product(out, []string{"%"})
		case strings.HasPrefix(rest[i:], "%s") && next < 8:
			parts, ok := t.operand(f, m, argument(c, next), depth, via)
			if !ok {
				return nil, false
			}
			out = product(out, parts)
			next++
		default:
			return nil, false
		}
		rest = rest[i+2:]
	}
	return out, len(out) <= maxBuilt
}

// operand returns the strings that a value can be; false if there may be others.
func (t *texts) operand(f int32, m *link.Module, v value.Val, depth int, via []CallRef) ([]string, bool) {
	o := texts{evaluator: evaluator{r: t.r}}
	o.value(f, m, v, depth+1, via)
	return o.found, o.unknown == "" && !o.null && len(o.found) > 0
}

// product returns each string of a with each of b behind it.
func product(a, b []string) []string {
	out := make([]string, 0, len(a)*len(b))
	for _, x := range a {
		for _, y := range b {
			if len(out) > maxBuilt {
				return out
			}
			out = append(out, x+y)
		}
	}
	return out
}
