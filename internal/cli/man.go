package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

//go:generate go run ./gen -o ../../docs/man

// Man returns the manual pages, of section 1, by the names of their files: one of the command and one of each verb, made of the
// texts that --help prints.
func Man() map[string][]byte {
	root := (&app{}).root()
	pages := map[string][]byte{"syspart.1": manRoot(root)}
	for _, cmd := range root.Commands() {
		if !cmd.Hidden {
			pages["syspart-"+cmd.Name()+".1"] = manVerb(root, cmd)
		}
	}
	return pages
}

// roff collects a page.
type roff struct{ strings.Builder }

// request writes a line that roff obeys; its arguments are text.
func (r *roff) request(name string, args ...string) {
	r.WriteString("." + name)
	for _, a := range args {
		r.WriteString(` "` + strings.ReplaceAll(escaped(a), `"`, `\(dq`) + `"`)
	}
	r.WriteByte('\n')
}

// text writes lines that are filled.
func (r *roff) text(s string) {
	for line := range strings.SplitSeq(s, "\n") {
		r.WriteString(guarded(escaped(line)) + "\n")
	}
}

// escaped makes text of what roff would take for more: hyphens stay hyphens, so that options can be copied.
func escaped(s string) string { return strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(s) }

// guarded keeps a line from being a request.
func guarded(s string) string {
	if strings.HasPrefix(s, ".") || strings.HasPrefix(s, "'") {
		return `\&` + s
	}
	return s
}

// paragraphs writes a help text: what is indented stays as it is, all else is filled.
func (r *roff) paragraphs(text string) {
	for i, par := range strings.Split(strings.TrimSpace(text), "\n\n") {
		if i > 0 {
			r.request("PP")
		}
		if strings.HasPrefix(par, " ") {
			r.display(par)
			continue
		}
		r.text(par)
	}
}

// display writes lines as they are.
func (r *roff) display(lines string) {
	r.request("nf")
	r.text(lines)
	r.request("fi")
}

// item writes an entry of a list: a term in bold, what stands for a value in italics, the text.
func (r *roff) item(term, value, text string) {
	r.request("TP")
	line := `\fB` + escaped(term) + `\fR`
	if value != "" {
		line += ` \fI` + escaped(value) + `\fR`
	}
	r.WriteString(line + "\n")
	r.text(text)
}

// options writes the flags of a set, in order of their names.
func (r *roff) options(flags *pflag.FlagSet) {
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		term := "--" + f.Name
		if f.Shorthand != "" {
			term = "-" + f.Shorthand + ", " + term
		}
		value, text := pflag.UnquoteUsage(f)
		switch f.DefValue {
		case "", "false", "0", "0s", "[]":
		default:
			text += " (" + f.DefValue + " if not given)"
		}
		r.item(term, value, text)
	})
}

func (r *roff) exits(verb string) {
	r.request("SH", "EXIT STATUS")
	for _, m := range exitMeanings {
		switch {
		case verb == "" && m.verbs != nil:
			r.item(m.code, "", strings.Join(m.verbs, ", ")+": "+m.text)
		case m.verbs == nil || slices.Contains(m.verbs, verb):
			r.item(m.code, "", m.text)
		}
	}
}

func (r *roff) head(name, short string) {
	r.WriteString(".\\\" Made by go generate from the texts of syspart --help. DO NOT EDIT.\n")
	r.request("TH", strings.ToUpper(name), "1", "", "syspart", "syspart")
	r.request("SH", "NAME")
	r.text(name + " - " + strings.ToLower(short[:1]) + short[1:])
	r.request("SH", "SYNOPSIS")
}

func manRoot(root *cobra.Command) []byte {
	var r roff
	r.head("syspart", root.Short)
	r.request("B", "syspart")
	r.text("VERB [flags] ...")
	r.request("SH", "DESCRIPTION")
	r.paragraphs(root.Long)
	r.request("PP")
	r.text("Results go to standard output, everything else to standard error. A file that is written appears whole or not at all.")
	r.request("SH", "VERBS")
	for _, cmd := range root.Commands() {
		if !cmd.Hidden {
			r.item("syspart-"+cmd.Name()+"(1)", "", cmd.Short)
		}
	}
	r.request("SH", "OPTIONS")
	r.text("Every verb has these.")
	r.options(root.PersistentFlags())
	r.item("-h, --help", "", "explain the verb")
	r.exits("")
	r.request("SH", "ENVIRONMENT")
	r.item("NO_COLOR", "", "if it is set, tables have no colour, unless --color=always is given")
	r.item("TERM", "", "if it is dumb, the same")
	r.item("XDG_CACHE_HOME, HOME", "", "where summaries of analysed files are kept: syspart in the first, .cache/syspart in the second")
	r.request("SH", "EXAMPLES")
	r.display(root.Example)
	return []byte(r.String())
}

func manVerb(root, cmd *cobra.Command) []byte {
	var r roff
	r.head("syspart-"+cmd.Name(), cmd.Short)
	r.request("B", "syspart "+cmd.Name())
	if _, args, ok := strings.Cut(cmd.Use, " "); ok {
		r.text(args)
	}
	for _, other := range cmd.Aliases {
		r.request("br")
		r.request("B", "syspart "+other)
		r.text("...")
	}
	r.request("SH", "DESCRIPTION")
	r.paragraphs(cmd.Long)
	r.request("SH", "OPTIONS")
	r.options(cmd.NonInheritedFlags())
	r.options(root.PersistentFlags())
	r.exits(cmd.Name())
	r.request("SH", "EXAMPLES")
	r.display(cmd.Example)
	r.request("SH", "SEE ALSO")
	var others []string
	for _, c := range root.Commands() {
		if !c.Hidden && c != cmd {
			others = append(others, fmt.Sprintf("syspart-%s(1)", c.Name()))
		}
	}
	r.text(strings.Join(append([]string{"syspart(1)"}, others...), ", "))
	return []byte(r.String())
}
