package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"syspart/internal/image"
	"syspart/internal/pipeline"
	"syspart/profile"
)

// unhardened is added to the name of a packaged program that a hardened copy has taken the place of.
const unhardened = ".unhardened"

// privateDir is where private copies of libraries are installed, in a directory for each program.
const privateDir = "/usr/lib/syspart"

// dpkg runs dpkg-divert.
type dpkg struct{ admin string }

func (d dpkg) divert(args ...string) (string, error) {
	if d.admin != "" {
		args = append([]string{"--admindir", d.admin}, args...)
	}
	out, err := exec.Command("dpkg-divert", args...).CombinedOutput()
	if errors.Is(err, exec.ErrNotFound) {
		return "", errors.New("dpkg-divert: not found; installing needs Debian's dpkg, harden -o does not")
	}
	if err != nil {
		return "", fmt.Errorf("dpkg-divert: %w: %s", err, printable(strings.TrimSpace(string(out))))
	}
	return strings.TrimSpace(string(out)), nil
}

// diverted reports whether dpkg puts the packaged program beside the path, under our name.
func (d dpkg) diverted(path string) (bool, error) {
	to, err := d.divert("--truename", path)
	if err == nil && to != path && to != path+unhardened {
		err = fmt.Errorf("%s: is diverted to %s already, not by syspart; undo that first", path, printable(to))
	}
	return to == path+unhardened, err
}

// install puts a hardened copy in the program's place. There is a whole program at its path at any moment.
func (a *app) install(ctx context.Context, p *profile.Profile, dir string, d dpkg, f hardenFlags) error {
	path := p.Program.Path
	original := path + unhardened
	if dir == "" {
		dir = filepath.Join(privateDir, filepath.Base(path))
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	again, err := d.diverted(path)
	if err != nil {
		return err
	}
	if !again {
		if _, err := os.Lstat(original); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s: is there, and dpkg knows nothing of it; remove it", original)
		}
	}
	from := ""
	if again { // perhaps after an upgrade
		moved, err := a.fitted(ctx, pipeline.Moved(p, original), reanalyse, *f.analysis)
		if err != nil {
			return err
		}
		p, from = pipeline.Moved(moved, path), original
	}
	h, err := a.hardened(ctx, p, dir, from, f)
	if err != nil {
		return err
	}
	if len(h.Files) > 1 {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	for _, lib := range h.Files[1:] {
		if err := writeLike(filepath.Join(dir, lib.Name), lib.Path, lib.Data); err != nil {
			return err
		}
	}
	prog := &h.Files[0]
	if !again {
		if err := os.Link(path, original); err != nil {
			return err
		}
		if _, err := d.divert("--local", "--no-rename", "--divert", original, "--add", path); err != nil {
			os.Remove(original)
			return err
		}
	}
	if err := replaceLike(path, original, prog.Data); err != nil {
		if !again {
			_, undo := d.divert("--no-rename", "--remove", path)
			err = errors.Join(err, undo, os.Remove(original))
		}
		return err
	}
	return a.printHardened(p, h, filepath.Dir(path), dir, *f.show)
}

// revert builds the verb of that name.
func (a *app) revert() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "revert PROGRAM",
		Short: "Put the packaged program back in the place of a hardened copy",
		Long: `revert undoes harden --install: the packaged program, with all upgrades that came meanwhile, is in its place again, and the
private copies of libraries are removed. Processes that run the copy go on until they end.`,
		Example: `  syspart revert /usr/sbin/nginx`,
		Args:    exactly(1, "one PROGRAM"),
	}
	admin := cmd.Flags().String("admindir", "", "dpkg's database `DIR`, if it is another one")
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		path, err := filepath.EvalSymlinks(args[0])
		if err != nil {
			return err
		}
		if path, err = filepath.Abs(path); err != nil {
			return err
		}
		d := dpkg{*admin}
		ours, err := d.diverted(path)
		if err != nil {
			return err
		}
		if !ours {
			return fmt.Errorf("%s: no hardened copy is installed there", path)
		}
		copied, err := image.Open(path)
		if err != nil {
			return err
		}
		if err := os.Rename(path+unhardened, path); err != nil {
			return err
		}
		if _, err := d.divert("--no-rename", "--remove", path); err != nil {
			return err
		}
		for _, lib := range copied.Dyn.Needed {
			if filepath.IsAbs(lib) {
				if err := os.Remove(lib); err != nil && !errors.Is(err, fs.ErrNotExist) {
					return err
				}
				_ = os.Remove(filepath.Dir(lib)) // when it is empty
			}
		}
		return nil
	}
	return cmd
}
