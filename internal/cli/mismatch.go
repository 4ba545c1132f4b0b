package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"syspart/internal/pipeline"
	"syspart/profile"
)

// mismatch is the value of --on-mismatch.
type mismatch string

const (
	reanalyse  mismatch = "reanalyse"
	refuse     mismatch = "refuse"
	unfiltered mismatch = "unfiltered"
)

func (m *mismatch) Type() string   { return "WHAT" }
func (m *mismatch) String() string { return string(*m) }

// Set is called by the flag parser.
func (m *mismatch) Set(s string) error {
	all := []string{string(reanalyse), string(refuse), string(unfiltered)}
	if !slices.Contains(all, s) {
		return fmt.Errorf("no such word; there are %s", strings.Join(all, ", "))
	}
	*m = mismatch(s)
	return nil
}

// mismatchFlag adds --on-mismatch.
func mismatchFlag(cmd *cobra.Command) *mismatch {
	m := reanalyse
	cmd.Flags().Var(&m, "on-mismatch", "what to do if files have changed since the profile was made: reanalyse, refuse or unfiltered")
	return &m
}

// fitted returns a profile that fits the files that are there now: p itself or, if files have changed and what says so, one
// made anew; nil if the server is to run without filters. What has changed is said on stderr.
func (a *app) fitted(ctx context.Context, p *profile.Profile, what mismatch, opt pipeline.Options) (*profile.Profile, error) {
	all := p.Mismatches(backend.identify)
	if len(all) == 0 {
		return p, nil
	}
	list := make([]string, len(all))
	for i, err := range all {
		list[i] = err.Error()
	}
	effect := "computed anew what can be needed; profile the server again"
	switch what {
	case refuse:
		return nil, all[0]
	case unfiltered:
		p, effect = nil, "the server runs WITHOUT filters, as --on-mismatch unfiltered says"
	default:
		renewed, err := backend.renew(ctx, p, opt)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", strings.Join(list, "; "), err)
		}
		p = renewed
	}
	a.progress.clear()
	for _, text := range list {
		fmt.Fprintf(a.stderr, "syspart: %s: %s\n", printable(text), effect)
	}
	return p, nil
}
