// Package attacks knows which system calls published attacks make, so that it can be said what a filter puts an end to:
// exploits of the kernel, by their CVE numbers, and payloads that are run in a server that was taken over.
//
// The data (data/) are facts from the evaluation of Temporal System Call Specialization (Ghavamnia et al., USENIX Security
// 2020, github.com/shamedgh/temporal-specialization, MIT) in the form in which SysPart (Rajagopalan et al., CCS 2023, artifact
// vidyalakshmir/SysPartArtifact) uses them: 36 CVEs, 535 variants of shellcode from shell-storm.org and Metasploit, 17
// return-oriented payloads. The rules are theirs as well. They say what is certainly shut, not what is safe: an attack that is not
// in the lists, or one that does with other calls, is not counted.
package attacks

import (
	"embed"
	"slices"
	"strings"

	"syspart/internal/syscalls"
)

//go:embed data/*.tsv data/*.txt
var files embed.FS

// Attack is what one attack calls.
type Attack struct {
	ID    string   // CVE number, or the number of a payload in its collection
	Calls []string // names of x86-64 calls
	// Unknown are names that are none of an x86-64 call, and numbers that the data do not resolve: the lists also have calls of other
	// architectures (socketcall, waitpid), functions of libraries (signal, pwrite), and slips of the pen (sup2). They stop nothing.
	Unknown []string
}

// Open says whether a call is open, by its name.
type Open func(call string) bool

// CVEs returns defects of the kernel with the calls that reach them, newest knowledge of the data 2019.
func CVEs() []Attack { return cves }

// Shellcode returns payloads that are executed as code.
func Shellcode() []Attack { return shellcode }

// ROP returns payloads that are put together of the server's own code.
func ROP() []Attack { return rop }

var (
	cves      = read("kernel_cves.tsv")
	shellcode = read("payloads.tsv")
	rop       = read("rop_payloads.tsv")
	peers     = readGroups("equivalents.txt")
)

// Shut reports whether a defect of the kernel cannot be reached: every one of the calls is closed.
func (a *Attack) Shut(open Open) bool { return !slices.ContainsFunc(a.Calls, open) }

// Stopped reports whether a payload cannot run to its end: a call that it needs is closed, with equivalents all calls that do
// the same. So the figures that the papers publish come out, for lists of which all is published.
func (a *Attack) Stopped(open Open, equivalents bool) bool {
	return slices.ContainsFunc(a.Calls, func(c string) bool {
		return !open(c) && !(equivalents && slices.ContainsFunc(peers[c], open))
	})
}

// Classes of payloads by what they are after; a payload is in the first one that it has a call of.
const (
	Listen  = "opens a port and waits for commands"
	Connect = "connects to the attacker"
	Program = "runs a program"
	Code    = "makes memory executable"
	Files   = "changes files"
	Other   = "other"
)

// Classes returns the classes in their order.
func Classes() []string { return []string{Listen, Connect, Program, Code, Files, Other} }

var marks = [][]string{
	{"listen", "bind", "accept", "accept4"},
	{"connect"},
	{"execve", "execveat"},
	{"mprotect", "mmap"},
	{"chmod", "chown", "unlink", "mkdir", "rmdir", "rename", "open", "openat", "write"},
}

// Class says what a payload is after.
func (a *Attack) Class() string {
	for i, calls := range marks {
		if slices.ContainsFunc(a.Calls, func(c string) bool { return slices.Contains(calls, c) }) {
			return Classes()[i]
		}
	}
	return Other
}

// lines returns the lines of a file of the data.
func lines(name string) []string {
	text, err := files.ReadFile("data/" + name)
	if err != nil {
		panic("attacks: " + err.Error()) // it is embedded
	}
	return strings.FieldsFunc(string(text), func(r rune) bool { return r == '\n' })
}

func read(name string) (out []Attack) {
	for _, l := range lines(name) {
		id, calls, _ := strings.Cut(l, "\t")
		a := Attack{ID: id}
		for _, c := range names(calls) {
			if _, ok := syscalls.Number(c); ok {
				a.Calls = append(a.Calls, c)
			} else {
				a.Unknown = append(a.Unknown, c)
			}
		}
		out = append(out, a)
	}
	return out
}

// readGroups returns the groups of calls that do the same, by each of their members.
func readGroups(name string) map[string][]string {
	out := map[string][]string{}
	for _, l := range lines(name) {
		group := names(l)
		for _, c := range group {
			out[c] = group
		}
	}
	return out
}

func names(list string) (out []string) {
	for _, c := range strings.Split(list, ",") {
		out = append(out, plain(c))
	}
	return out
}

// plain gives a call of the payloads, which are for several architectures, its name on x86-64.
func plain(name string) string {
	switch name = strings.TrimSpace(name); name {
	case "recv":
		return "recvfrom"
	case "send":
		return "sendto"
	case "mmap2":
		return "mmap"
	case "_newselect":
		return "select"
	case "_llseek":
		return "lseek"
	case "stat64", "fstat64", "lstat64", "fcntl64", "ftruncate64", "truncate64", "sendfile64":
		return strings.TrimSuffix(name, "64")
	}
	return name
}
