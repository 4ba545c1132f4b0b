package link

import (
	"fmt"
	"os"
	"strings"
	"sync"
)

// cpuInfo is what the loader's search depends on of the processor.
type cpuInfo struct {
	level    int    // x86-64 instruction-set level of the psABI: 1 to 4
	platform string // $PLATFORM as glibc expands it
}

// thisCPU is that of the running machine.
var thisCPU = sync.OnceValue(func() cpuInfo {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return cpuInfo{level: 1, platform: "x86_64"}
	}
	return parseCPU(string(text))
})

// Processor says what a program's modules depend on of the machine's processor.
func Processor() string { return fmt.Sprintf("%s v%d", thisCPU().platform, thisCPU().level) }

// levels are the flags of /proc/cpuinfo that each level adds (System V psABI for x86-64, table 3.1; glibc
// sysdeps/x86/get-isa-level.h). The kernel leaves out flags whose state it does not save, as OSXSAVE would tell.
var levels = [...]string{
	2: "cx16 lahf_lm popcnt pni sse4_1 sse4_2 ssse3",
	3: "avx avx2 bmi1 bmi2 f16c fma abm movbe xsave",
	4: "avx512f avx512bw avx512cd avx512dq avx512vl",
}

// parseCPU reads the first processor of a /proc/cpuinfo text.
func parseCPU(text string) cpuInfo {
	text, _, _ = strings.Cut(text, "\n\n")
	flags, vendor := map[string]bool{}, ""
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(line, ":")
		switch strings.TrimSpace(key) {
		case "vendor_id":
			vendor = strings.TrimSpace(value)
		case "flags":
			for _, f := range strings.Fields(value) {
				flags[f] = true
			}
		}
	}
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
