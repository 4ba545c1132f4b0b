package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"syspart/internal/elfwrite"
	"syspart/internal/image"
	"syspart/internal/pipeline"
	"syspart/profile"
)

// hardenFlags are the flags of harden that say how.
type hardenFlags struct {
	analysis *pipeline.Options
	act      *action
	refused  *format
	mismatch *format
	partial  *bool
	show     *bool
}

// harden builds the verb of that name.
func (a *app) harden() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "harden -p PROFILE {-o DIR | --install | --verify FILE} [flags]",
		Short: "Write a copy of a program that filters itself",
		Long: `harden writes into DIR a copy of the profile's program in which each thread installs its own filter when it enters its main
loop: it runs without syspart. Libraries with main loops get a copy beside it, which the program loads instead of the original;
links to the program that lie beside it are made, too. A copy keeps build-id, symbols, mode, owner and capabilities; it is for
the libraries that were profiled, and looks when it starts whether those are loaded. What cannot be done safely is refused with
the reason; --partial leaves those kinds of threads out instead.

With --install the copy takes the program's place, and dpkg puts the packaged program, now and in upgrades, beside it under the
name PROGRAM.unhardened. After an upgrade, --install again makes the copy anew; syspart revert undoes it. Private copies of
libraries go to /usr/lib/syspart/PROGRAM or to DIR.

With --verify nothing is written: FILE and its libraries are compared with what the same flags would write.`,
		Example: `  syspart harden -p nginx.json -o hardened --print && hardened/nginx -c /tmp/x/nginx.conf
  syspart harden -p /etc/syspart/nginx.json --install`,
		Args: cobra.NoArgs,
	}
	f := hardenFlags{analysis: a.analysisFlags(cmd)}
	path := profileFlag(cmd)
	f.act, f.refused = actionFlag(cmd), refusedFlag(cmd)
	dir := cmd.Flags().StringP("output", "o", "", "write to the directory `DIR`, which is made")
	f.show = cmd.Flags().Bool("print", false, "print each patch")
	f.mismatch = &format{"refuse", []string{"refuse", "warn"}}
	cmd.Flags().Var(f.mismatch, "on-mismatch", "what the program does if a module is loaded that it was not made for: refuse or warn")
	f.partial = cmd.Flags().Bool("partial", false, "leave out kinds of threads that cannot filter themselves")
	install := cmd.Flags().Bool("install", false, "put the copy in the program's place, and have dpkg divert the packaged one")
	admin := cmd.Flags().String("admindir", "", "dpkg's database `DIR`, if it is another one")
	verify := cmd.Flags().String("verify", "", "compare `FILE` with what would be written")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		p, err := a.loadProfile(*path)
		if err != nil {
			return err
		}
		switch {
		case *verify != "":
			return a.verifyHardened(cmd.Context(), p, *verify, f)
		case *install:
			return a.install(cmd.Context(), p, *dir, dpkg{*admin}, f)
		case *dir == "":
			return usage(cmd, "no directory; give one with -o")
		}
		libraries := "$ORIGIN"
		if secure, err := privileged(p.Program.Path); err != nil {
			return err
		} else if secure {
			if libraries, err = filepath.Abs(*dir); err != nil {
				return err
			}
		}
		h, err := a.hardened(cmd.Context(), p, libraries, "", f)
		if err != nil {
			return err
		}
		if err := writeHardened(*dir, h); err != nil {
			return err
		}
		return a.printHardened(p, h, *dir, *dir, *f.show)
	}
	return cmd
}

// hardened hardens a program whose contents are at the path original, if that is not "".
func (a *app) hardened(ctx context.Context, p *profile.Profile, libraries, original string, f hardenFlags) (*pipeline.Hardened, error) {
	h, err := backend.harden(ctx, p, pipeline.HardenOptions{Action: f.act.Action, Partial: *f.partial, Failure: failure(f.refused), Warn: f.mismatch.value == "warn",
		Libraries: libraries, Original: original}, *f.analysis)
	a.progress.clear()
	return h, err
}

// printHardened says what was written, the program to one directory and the libraries to another, and what is left open.
func (a *app) printHardened(p *profile.Profile, h *pipeline.Hardened, dir, libraries string, show bool) error {
	for _, text := range h.Left {
		fmt.Fprintf(a.stderr, "syspart: %s: no filter of its own: %s\n", printable(p.Program.Path), printable(text))
	}
	for _, file := range h.Unchecked {
		fmt.Fprintf(a.stderr, "syspart: %s: has no build-id: the program will not see if it is another\n", printable(file))
	}
	return a.print(func(w io.Writer) error {
		for _, f := range h.Files {
			line := filepath.Join(dir, f.Name)
			if f.As != "" {
				line = filepath.Join(libraries, f.Name) + "  loaded for " + f.As
			}
			fmt.Fprintln(w, printable(line))
			for _, q := range f.Patches {
				if show {
					fmt.Fprintf(w, "  %#x  % x -> % x  %s\n", q.Addr, q.Old, q.New, printable(strings.Join(q.Kinds, ", ")))
				}
			}
		}
		return nil
	})
}

// verifyHardened compares a hardened program and its libraries with what they should be.
func (a *app) verifyHardened(ctx context.Context, p *profile.Profile, file string, f hardenFlags) error {
	have, err := image.Open(file)
	if err != nil {
		return err
	}
	original := ""
	if file == p.Program.Path {
		original = file + unhardened
		if _, err := os.Stat(original); errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s: is the program itself, not hardened; name the copy that harden wrote", file)
		}
	}
	libraries, dir := "$ORIGIN", filepath.Dir(file)
	for _, name := range have.Dyn.Needed {
		if filepath.IsAbs(name) {
			libraries, dir = filepath.Dir(name), filepath.Dir(name)
		}
	}
	h, err := a.hardened(ctx, p, libraries, original, f)
	if err != nil {
		return err
	}
	for i, want := range h.Files {
		at := filepath.Join(dir, want.Name)
		if i == 0 {
			at = file
		}
		data, err := os.ReadFile(at)
		if err != nil {
			return err
		}
		if err := elfwrite.Same(at, data, want.Data); err != nil {
			return fmt.Errorf("%w; harden it again, with the same flags", err)
		}
	}
	return a.printHardened(p, h, filepath.Dir(file), dir, *f.show)
}

// privileged reports whether a program gains privileges when it is executed: the loader then takes no library from beside it.
func privileged(path string) (bool, error) {
	st, err := os.Stat(path)
	if err != nil {
		return false, err
	}
	n, err := unix.Getxattr(path, "security.capability", nil)
	return st.Mode()&(os.ModeSetuid|os.ModeSetgid) != 0 || err == nil && n > 0, nil
}

// writeHardened writes the files of a hardened program, and the links to it, into a directory: libraries first, so that no
// program is there without its libraries.
func writeHardened(dir string, h *pipeline.Hardened) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, f := range slices.Backward(h.Files) {
		if err := writeLike(filepath.Join(dir, f.Name), f.Path, f.Data); err != nil {
			return err
		}
	}
	prog := &h.Files[0]
	names, err := linksTo(prog.Path)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := writeLink(filepath.Join(dir, name), prog.Name); err != nil {
			return err
		}
	}
	return nil
}

// linksTo returns the names of symbolic links to a program in its directory: some programs act by the name that they have.
func linksTo(path string) (out []string, err error) {
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if e.Type()&os.ModeSymlink == 0 {
			continue
		}
		if to, err := filepath.EvalSymlinks(filepath.Join(filepath.Dir(path), e.Name())); err == nil && to == path {
			out = append(out, e.Name())
		}
	}
	return out, nil
}

// writeLink makes a symbolic link; it replaces none but another link.
func writeLink(path, to string) error {
	if st, err := os.Lstat(path); err == nil && st.Mode()&os.ModeSymlink == 0 {
		return fmt.Errorf("%s: is there and no link; name another directory", path)
	} else if err == nil {
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	return os.Symlink(to, path)
}

// writeLike writes a file whole or not at all, with mode, owner and extended attributes of another one. It never writes to
// that one itself.
func writeLike(to, like string, data []byte) error {
	st, err := os.Stat(like)
	if err != nil {
		return err
	}
	if old, err := os.Stat(to); err == nil && os.SameFile(st, old) {
		return fmt.Errorf("%s: is the program itself; name another directory", to)
	}
	return replaceLike(to, like, data)
}

// replaceLike does the same where the name may be another one of that file, which keeps its contents.
func replaceLike(to, like string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(to), "."+filepath.Base(to)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone if it was renamed
	_, err = f.Write(data)
	var raw unix.Stat_t
	if e := unix.Stat(like, &raw); e == nil && err == nil && os.Geteuid() == 0 {
		err = f.Chown(int(raw.Uid), int(raw.Gid))
	}
	if err == nil { // behind the owner, whose change takes the set-user-ID bit
		err = unix.Fchmod(int(f.Fd()), raw.Mode&0o7777)
	}
	if err == nil {
		err = copyAttributes(int(f.Fd()), like)
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(f.Name(), to)
	}
	return err
}

// ofContents are the extended attributes that sign or hash a file's contents (Linux, Documentation/security/IMA-templates.rst):
// those of other contents are wrong, and a kernel that appraises files refuses them.
var ofContents = map[string]bool{"security.ima": true, "security.evm": true}

// copyAttributes copies the extended attributes of a file, capabilities among them, but for those of its contents. Those that
// may not be set are an error: a program without its capabilities would fail in other ways.
func copyAttributes(fd int, like string) error {
	n, err := unix.Listxattr(like, nil)
	if err != nil || n == 0 {
		if errors.Is(err, unix.ENOTSUP) {
			return nil
		}
		return err
	}
	names := make([]byte, n)
	if n, err = unix.Listxattr(like, names); err != nil {
		return err
	}
	for _, name := range strings.Split(strings.TrimRight(string(names[:n]), "\x00"), "\x00") {
		if ofContents[name] {
			continue
		}
		size, err := unix.Getxattr(like, name, nil)
		if err != nil {
			return fmt.Errorf("%s: attribute %s: %w", like, name, err)
		}
		value := make([]byte, size)
		if size, err = unix.Getxattr(like, name, value); err != nil {
			return fmt.Errorf("%s: attribute %s: %w", like, name, err)
		}
		if err := unix.Fsetxattr(fd, name, value[:size], 0); err != nil {
			return fmt.Errorf("attribute %s: %w", name, err)
		}
	}
	return nil
}
