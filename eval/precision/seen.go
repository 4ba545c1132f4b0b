package main

import (
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"syspart/internal/pipeline"
	"syspart/profile"
)

// floors fills in Floors from a table of calls that were seen; without one there are none.
func (s *server) floors(ctx context.Context, path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	calls, err := seenCalls(z, s.profile)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	s.Floors, err = pipeline.Floors(ctx, s.profile, calls, pipeline.Options{})
	return err
}

// seenCalls reads the calls through pointers from a table of oracle/edges: caller's module, site, callee's module, entry, kind.
func seenCalls(r io.Reader, p *profile.Profile) ([]pipeline.SeenCall, error) {
	builds := map[string]string{filepath.Base(p.Program.Path): p.Program.BuildID}
	for _, m := range p.Modules {
		builds[filepath.Base(m.Path)] = m.BuildID
	}
	other := map[string]bool{} // modules that the profile has in another build
	var out []pipeline.SeenCall
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		f := strings.Split(lines.Text(), "\t")
		switch {
		case f[0] == "#module" && len(f) >= 5:
			if f[4] == "" || f[4] == "-" || !strings.HasPrefix(builds[f[1]], f[4]) {
				other[f[1]] = true
			}
		case strings.HasPrefix(f[0], "#") || len(f) < 5 || f[4] != "icall" && f[4] != "ijmp" || other[f[0]] || other[f[2]]:
		default:
			site, err1 := strconv.ParseUint(f[1], 16, 64)
			entry, err2 := strconv.ParseUint(f[3], 16, 64)
			if err := errors.Join(err1, err2); err != nil {
				return nil, err
			}
			out = append(out, pipeline.SeenCall{Module: f[0], Site: site, To: f[2], Entry: entry})
		}
	}
	return out, lines.Err()
}
