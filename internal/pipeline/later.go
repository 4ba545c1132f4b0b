package pipeline

import (
	"path/filepath"
	"slices"
	"strings"

	"syspart/internal/link"
	"syspart/internal/view"
	"syspart/profile"
)

// later returns the modules, beyond those already asked for, that the system's configuration says are loaded at run time:
// the services of the name service switch, the modules of PAM, those of gconv that are not plain, and libgcc_s, which libc
// loads to unwind. Whether the code that loads them is live is not asked: they are there to be found if it is.
func (l *loader) later(p *link.Program, have []link.Extra) []link.Extra {
	var out []link.Extra
	add := func(path string, local bool) {
		same := func(e link.Extra) bool { return e.Path == path }
		if path == "" || slices.ContainsFunc(have, same) || slices.ContainsFunc(out, same) {
			return
		}
		out = append(out, link.Extra{Path: path, Found: profile.FoundStatic, Local: local, Optional: true})
	}
	w := wants{databases: map[string]bool{}}
	for mi, m := range p.Modules {
		if libc := len(m.Dyn.Needed) == 0; libc || mi == p.VDSO || m.Dyn.Soname == "libc.so.6" {
			continue
		}
		for i := range m.Dyn.Symbols {
			if s := &m.Dyn.Symbols[i]; s.Undefined {
				w.of(s.Name)
			}
		}
	}
	if p.Interp < 0 || p.Musl {
		return out
	}
	for _, name := range l.wanted(w) {
		add(name, true)
	}
	for _, path := range l.notPlain(l.gconvDir(p)) {
		add(path, true)
	}
	for _, m := range p.Modules {
		if strings.HasPrefix(m.Dyn.Soname, "libpam.so.") {
			for _, path := range l.pam(m) {
				add(path, true)
			}
		}
	}
	return out
}

// wants is what imported functions make glibc load: for the databases of the name service switch that they ask, and to unwind.
type wants struct {
	databases map[string]bool
	unwinds   bool
}

// of adds what an imported function wants.
func (w *wants) of(name string) {
	for _, db := range nameService(name) {
		w.databases[db] = true
	}
	w.unwinds = w.unwinds || unwinders[name]
}

// wanted returns the libraries that glibc loads for that.
func (l *loader) wanted(w wants) []string {
	var out []string
	if w.unwinds {
		out = append(out, "libgcc_s.so.1")
	}
	for _, service := range nsswitch(l.view, l.opt.Root, w.databases) {
		out = append(out, "libnss_"+service+".so.2")
	}
	return out
}

// guess is what functions that a program imports want, asked before its libraries are there.
func (l *loader) guess(imports []string) []string {
	w := wants{databases: map[string]bool{}}
	for _, name := range imports {
		w.of(name)
	}
	return l.wanted(w)
}

// unwinders are the functions of libc that load libgcc_s (glibc's misc/unwind-link.c).
var unwinders = map[string]bool{"pthread_exit": true, "pthread_cancel": true, "thrd_exit": true, "backtrace": true}

// nameService returns the databases of the name service switch that a function of libc asks.
func nameService(name string) []string {
	name = strings.TrimPrefix(name, "__")
	switch name {
	case "getgroups": // a system call
		return nil
	case "initgroups", "getgrouplist":
		return []string{"group", "initgroups"}
	case "getaddrinfo", "getnameinfo":
		return []string{"hosts", "services"}
	case "glob", "glob64", "wordexp", "cuserid", "ruserok", "iruserok", "ruserok_af", "iruserok_af", "rcmd", "rcmd_af":
		return []string{"passwd", "hosts", "services"}
	case "innetgr", "setnetgrent", "getnetgrent", "getnetgrent_r":
		return []string{"netgroup"}
	}
	for prefix, db := range map[string]string{"getpw": "passwd", "setpwent": "passwd", "getgr": "group", "setgrent": "group", "getsp": "shadow", "setspent": "shadow",
		"getsg": "gshadow", "gethostby": "hosts", "gethostent": "hosts", "getserv": "services", "getproto": "protocols", "getnet": "networks",
		"getrpc": "rpc", "getalias": "aliases", "ether_": "ethers", "getpublickey": "publickey"} {
		if strings.HasPrefix(name, prefix) {
			return []string{db}
		}
	}
	return nil
}

// nsswitch returns the services that /etc/nsswitch.conf names for the databases, without those that are part of libc
// (files and dns since glibc 2.34). Without the file, glibc's own default applies (nss/nss_database.c).
func nsswitch(v *view.View, root string, databases map[string]bool) []string {
	if len(databases) == 0 {
		return nil
	}
	if databases["group"] {
		databases["initgroups"] = true
	}
	text, err := v.ReadFile(filepath.Join("/", root, "etc/nsswitch.conf"))
	if err != nil {
		text = []byte("netgroup: nis\n")
	}
	var out []string
	for line := range strings.Lines(string(text)) {
		line, _, _ = strings.Cut(line, "#")
		db, services, ok := strings.Cut(line, ":")
		if !ok || !databases[strings.TrimSpace(db)] {
			continue
		}
		for {
			a := strings.IndexByte(services, '[') // [NOTFOUND=return]
			if a < 0 {
				break
			}
			b := strings.IndexByte(services[a:], ']')
			if b < 0 {
				services = services[:a]
				break
			}
			services = services[:a] + " " + services[a+b+1:]
		}
		for _, s := range strings.Fields(services) {
			if s != "files" && s != "dns" && !slices.Contains(out, s) && !strings.ContainsRune(s, '/') {
				out = append(out, s)
			}
		}
	}
	slices.Sort(out)
	return out
}
