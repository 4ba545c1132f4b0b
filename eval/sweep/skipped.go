package main

import "path/filepath"

// skipped are programs that are not run, with the reason. They run without network and cannot write files, so what is
// left is what reaches the kernel or other processes without either.
var skipped = map[string]string{
	"poweroff": "stops the machine", "reboot": "stops the machine", "halt": "stops the machine",
	"shutdown": "stops the machine", "telinit": "stops the machine", "init": "is the machine's first process",
	"runlevel": "is systemctl under another name", "systemctl": "talks to the machine's first process",
	"kexec": "starts another kernel", "killall5": "kills every process whatever its arguments",
	"insmod": "changes the kernel", "modprobe": "changes the kernel", "rmmod": "changes the kernel",
	"kmod":   "changes the kernel",
	"mkfs":   "writes to devices",
	"agetty": "takes over a terminal", "getty": "takes over a terminal", "sulogin": "takes over a terminal",
	"openvt": "takes over a terminal", "chvt": "takes over a terminal", "deallocvt": "takes over a terminal",
	"swapon": "changes the kernel's memory", "swapoff": "changes the kernel's memory",
	"hwclock": "sets the clock", "rtcwake": "sends the machine to sleep",
}

// skippedPatterns are the same by shell pattern.
var skippedPatterns = [][2]string{
	{"mkfs.*", "writes to devices"},
	{"fsck.*", "writes to devices"},
	{"mkswap", "writes to devices"},
}

// whySkipped returns why a program is not run, empty if it is.
func whySkipped(path string) string {
	name := filepath.Base(path)
	if why, ok := skipped[name]; ok {
		return why
	}
	for _, p := range skippedPatterns {
		if ok, _ := filepath.Match(p[0], name); ok {
			return p[1]
		}
	}
	return ""
}
