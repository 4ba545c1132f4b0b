package link

import (
	"bufio"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"os"
	"strings"
)

// maxVDSO bounds the size of a vDSO; the kernel's have two pages.
const maxVDSO = 1 << 20

// ReadVDSO returns the image of the vDSO that the kernel maps into this process: AT_SYSINFO_EHDR of the auxiliary vector
// says where it starts, /proc/self/maps where it ends. It returns ErrNoVDSO if there is none (vdso=0, some sandboxes).
func ReadVDSO() ([]byte, error) {
	aux, err := os.ReadFile("/proc/self/auxv")
	if err != nil {
		return nil, fmt.Errorf("vdso: %w", err)
	}
	const atSysinfoEhdr = 33 // include/uapi/linux/auxvec.h, arch/x86/include/uapi/asm/auxvec.h
	var start uint64
	for ; len(aux) >= 16; aux = aux[16:] {
		if binary.LittleEndian.Uint64(aux) == atSysinfoEhdr {
			start = binary.LittleEndian.Uint64(aux[8:])
		}
	}
	if start == 0 {
		return nil, ErrNoVDSO
	}
	end, err := endOfMapping(start)
	if err != nil {
		return nil, fmt.Errorf("vdso: %w", err)
	}
	mem, err := os.Open("/proc/self/mem")
	if err != nil {
		return nil, fmt.Errorf("vdso: %w", err)
	}
	defer mem.Close()
	data := make([]byte, end-start)
	if _, err := mem.ReadAt(data, int64(start)); err != nil {
		return nil, fmt.Errorf("vdso: %w", err)
	}
	return data, nil
}

// endOfMapping returns the end of our own mapping that starts at start.
func endOfMapping(start uint64) (uint64, error) {
	f, err := os.Open("/proc/self/maps")
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for sc := bufio.NewScanner(f); sc.Scan(); {
		var lo, hi uint64
		if !strings.HasSuffix(sc.Text(), "[vdso]") {
			continue
		}
		if _, err := fmt.Sscanf(sc.Text(), "%x-%x", &lo, &hi); err == nil && lo == start && hi > lo && hi-lo <= maxVDSO {
			return hi, nil
		}
	}
	return 0, ErrNoVDSO
}

// VDSOFuncs returns the functions that the vDSO exports. libc looks them up by name when it starts, keeps the addresses
// in tables of its own and lets IFUNC resolvers return them, so any of them may be what such a pointer holds.
func (p *Program) VDSOFuncs() []Target {
	if p.VDSO < 0 {
		return nil
	}
	var targets []Target
	for i, s := range p.Modules[p.VDSO].Dyn.Symbols {
		if !s.Undefined && !s.Abs && s.Value != 0 && (s.Type == byte(elf.STT_FUNC) || s.Type == byte(elf.STT_NOTYPE)) {
			targets = append(targets, p.target(definition{int32(p.VDSO), uint32(i)}))
		}
	}
	return targets
}
