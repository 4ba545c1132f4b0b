package link

import (
	"fmt"
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/cpu"
)

// cpuInfo is what the loader's search depends on of the processor.
type cpuInfo struct {
	level    int    // x86-64 instruction-set level of the psABI: 1 to 4
	platform string // $PLATFORM as glibc expands it
}

// thisCPU is that of the running machine. What it can do is asked of the processor itself, as the loader does: /proc/cpuinfo
// may leave out what the kernel does not know of a virtual machine's processor.
var thisCPU = sync.OnceValue(func() cpuInfo {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		text = nil // no vendor: the platform is the common one
	}
	return cpuOf(vendor(string(text)), flags())
})

// flags are the features of this processor whose state the kernel saves, as /proc/cpuinfo names them.
func flags() map[string]bool {
	x := &cpu.X86
	return map[string]bool{
		"cx16": x.HasCX16, "lahf_lm": x.HasLAHF, "popcnt": x.HasPOPCNT, "pni": x.HasSSE3, "sse4_1": x.HasSSE41, "sse4_2": x.HasSSE42,
		"ssse3": x.HasSSSE3, "avx": x.HasAVX, "avx2": x.HasAVX2, "bmi1": x.HasBMI1, "bmi2": x.HasBMI2, "f16c": x.HasF16C,
		"fma": x.HasFMA, "abm": x.HasLZCNT, "movbe": x.HasMOVBE, "xsave": x.HasXSAVE, "avx512f": x.HasAVX512F, "avx512bw": x.HasAVX512BW,
		"avx512cd": x.HasAVX512CD, "avx512dq": x.HasAVX512DQ, "avx512vl": x.HasAVX512VL, "avx512er": x.HasAVX512ER, "avx512pf": x.HasAVX512PF,
	}
}

// Processor says what a program's modules depend on of the machine's processor.
func Processor() string { return fmt.Sprintf("%s v%d", thisCPU().platform, thisCPU().level) }

// levels are the flags that each level adds (System V psABI for x86-64, table 3.1; glibc sysdeps/x86/get-isa-level.h).
var levels = [...]string{
	2: "cx16 lahf_lm popcnt pni sse4_1 sse4_2 ssse3",
	3: "avx avx2 bmi1 bmi2 f16c fma abm movbe xsave",
	4: "avx512f avx512bw avx512cd avx512dq avx512vl",
}

// vendor reads the vendor of the first processor of a /proc/cpuinfo text.
func vendor(text string) string {
	for line := range strings.Lines(text) {
		if key, value, _ := strings.Cut(line, ":"); strings.TrimSpace(key) == "vendor_id" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// cpuOf is what the loader makes of a processor's vendor and flags.
func cpuOf(vendor string, flags map[string]bool) cpuInfo {
	all := func(names string) bool {
		for _, n := range strings.Fields(names) {
			if !flags[n] {
				return false
			}
		}
		return true
	}
	c := cpuInfo{level: 1, platform: "x86_64"}
	for c.level+1 < len(levels) && all(levels[c.level+1]) {
		c.level++
	}
	// sysdeps/x86/cpu-features.c: update_active and init_cpu_features set GLRO(dl_platform) for Intel only.
	if vendor == "GenuineIntel" {
		switch {
		case all("avx512cd avx512er avx512pf"):
			c.platform = "xeon_phi"
		case all("avx2 bmi1 bmi2 abm movbe popcnt"):
			c.platform = "haswell"
		}
	}
	return c
}

// hwcapDirs returns the glibc-hwcaps subdirectories that a processor of a level uses, best first.
func hwcapDirs(level int) []string {
	all := []string{"x86-64-v4", "x86-64-v3", "x86-64-v2"}
	return all[max(4-level, 0):]
}
