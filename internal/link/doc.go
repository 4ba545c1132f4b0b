// Package link binds module summaries to a program, as the dynamic loader would (ld.so(8); elf/dl-load.c, elf/dl-deps.c
// and elf/dl-lookup.c of glibc; ldso/dynlink.c of musl).
//
// Load finds the modules: executable, preloads, DT_NEEDED breadth-first, the interpreter where that order puts it or
// else last, the vDSO, then modules loaded later with what they need. The methods of Program answer what a symbol is
// bound to, and number the functions of all modules (Base + index).
//
// # Soundness
//
// The modules of the start and the bindings among them are exact: those that the loader makes, no more and no fewer.
// Bindings that involve modules loaded later depend on the order in which they are loaded; there, every definition that
// some order selects is returned. A symbol without a target is one that the loader leaves undefined.
//
// # What it assumes
//
// The environment of the loader is that of Options: LD_LIBRARY_PATH and LD_PRELOAD as given, LD_AUDIT, LD_DYNAMIC_WEAK,
// LD_PROFILE, LD_HWCAP_MASK and GLIBC_TUNABLES not set; relative paths count from the working directory of the analysis. The program
// is not setuid, or is and has no path that the loader would then refuse. Modules loaded later are loaded into the
// program's own namespace (no dlmopen) and without RTLD_DEEPBIND. The processor has the instruction-set level of the
// analysing one. The subdirectories for hardware capabilities that glibc had before 2.37 (tls, haswell, x86_64) are not
// searched; no distribution for x86-64 ships any. Program.Assumptions says in words what a profile has to state of this.
//
// Debian's and Fedora's default directories are searched, in this order, whatever the loader was built with: it only
// matters where there is no ld.so.cache, and ld.so.conf is read then, which the loader itself does not.
//
// # Hostile input
//
// With Options.Root every path, and every symbolic link on it, stays inside the root. ld.so.cache and the configuration
// files are bounded in size and nesting, only regular files are opened, and their contents are checked by package image.
package link
