package decode

import (
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"math/bits"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite testdata/zydis.tsv with the Zydis that is installed (Debian: libzydis-dev)")

// zydisLine is a line of testdata/zydis.tsv: an instruction and what Zydis says of it, see testdata/zydis.c.
type zydisLine struct {
	code               []byte
	length             int
	mnemonic           string
	reads, writes      RegSet
	has, read, write   bool
	base, index, scale int
	disp               int64
	size               int
}

func parseZydis(t *testing.T, line string) (z zydisLine) {
	t.Helper()
	text, rest, _ := strings.Cut(line, "\t")
	code, err := hex.DecodeString(text)
	if err != nil {
		t.Fatalf("zydis.tsv: %v", err)
	}
	z.code = code
	var has, read, write int
	if _, err := fmt.Sscanf(rest, "%d %s %x %x %d %d %d %d %d %d %d %d", &z.length, &z.mnemonic, &z.reads, &z.writes, &has, &read, &write,
		&z.base, &z.index, &z.scale, &z.disp, &z.size); err != nil {
		t.Fatalf("zydis.tsv: %q: %v", line, err)
	}
	z.has, z.read, z.write = has != 0, read != 0, write != 0
	return z
}

// deviation says in what we differ from Zydis on purpose.
type deviation struct {
	opaque bool   // we know only the length
	reads  RegSet // what we read more (or, with less, read less)
	less   RegSet
	writes RegSet // what we write more
	noMem  bool   // we drop the memory operand
	access bool   // memory accesses are not compared
	size   bool   // we leave the size of the memory operand open
	base   bool   // we name the other memory operand
}

// deviations are the mnemonics that we describe otherwise than Zydis, with the reason.
var deviations = func() map[string]deviation {
	m := map[string]deviation{
		"bsf": {reads: AllRegs}, "bsr": {reads: AllRegs}, // leave the destination alone if the source is 0
		"rdsspd": {reads: AllRegs}, "rdsspq": {reads: AllRegs}, // leave it alone if shadow stacks are off
		"mwaitx":   {reads: sBX},              // the timeout
		"syscall":  {reads: sAX, writes: sAX}, // the kernel's part
		"sysenter": {reads: sAX, writes: AllRegs},
		"sysexit":  {less: sSP}, // privileged: ends there
		"sysret":   {less: AllRegs},
		"ud0":      {less: AllRegs, access: true}, "ud1": {less: AllRegs, access: true},
		"leave": {less: sSP}, // RSP is overwritten
		// Privileged or for hypervisors; what is accessed is not ours.
		"invlpg": {access: true, size: true}, "vmptrld": {access: true}, "vmclear": {access: true}, "vmxon": {access: true},
		"xsavec": {access: true, size: true}, "xsavec64": {access: true, size: true}, "xsaves": {access: true, size: true}, "xsaves64": {access: true, size: true},
		// MPX counts as what it would do if it were on.
		"bndldx": {access: true, size: true}, "bndstx": {access: true, size: true},
		"xlat": {size: true}, "movsxd": {size: true}, "lea": {size: true}, // 16-bit movsxd reads 16 bits (Intel) or 32 (AMD)
		"bt": {size: true}, // the bit may lie far away
	}
	for _, mn := range strings.Fields("nop prefetch prefetchnta prefetcht0 prefetcht1 prefetcht2 prefetchw prefetchwt1 clflush clflushopt clwb cldemote" +
		" bndcl bndcn bndcu bndmk vgatherpf0dps vgatherpf0dpd vgatherpf0qps vgatherpf0qpd vgatherpf1dps vgatherpf1dpd vgatherpf1qps vgatherpf1qpd" +
		" vscatterpf0dps vscatterpf0dpd vscatterpf0qps vscatterpf0qpd vscatterpf1dps vscatterpf1dpd vscatterpf1qps vscatterpf1qpd") {
		m[mn] = deviation{less: AllRegs, noMem: true} // no effect
	}
	for _, mn := range strings.Fields("fxsave fxsave64 fxrstor fxrstor64 xsave xsave64 xsaveopt xsaveopt64 xrstor xrstor64 xrstors xrstors64 fnsave frstor fldenv fnstenv" +
		" vcompressps vcompresspd vpcompressb vpcompressw vpcompressd vpcompressq vexpandps vexpandpd vpexpandb vpexpandw vpexpandd vpexpandq" +
		" vgatherdps vgatherdpd vgatherqps vgatherqpd vpgatherdd vpgatherdq vpgatherqd vpgatherqq") {
		m[mn] = deviation{size: true} // depends on more than the instruction
	}
	for _, mn := range []string{"ins", "outs", "scas", "cmps", "movs", "stos", "lods"} {
		for _, suffix := range []string{"b", "w", "d", "q"} {
			// Zydis forgets the address registers that are advanced without repeat prefix. movsd and cmpsd are vector
			// instructions too, but then have no such deviation to hide.
			m[mn+suffix] = deviation{writes: sSI | sDI, size: true, base: mn == "cmps"}
		}
	}
	for _, mn := range strings.Fields("bts btr btc" + // with the bit number in a register
		" vpscatterdd vpscatterdq vpscatterqd vpscatterqq vscatterdps vscatterdpd vscatterqps vscatterqpd" +
		" movdir64b enqcmd enqcmds ldtilecfg sttilecfg tilerelease tilezero tileloadd tileloaddt1 tilestored tdpbf16ps tdpbssd tdpbsud tdpbusd tdpbuud" +
		" llwpcb slwpcb lwpins lwpval encodekey128 encodekey256 loadiwkey aesenc128kl aesenc256kl aesdec128kl aesdec256kl" +
		" aesencwide128kl aesencwide256kl aesdecwide128kl aesdecwide256kl" +
		" getsec encls enclu enclv pconfig vmcall vmlaunch vmresume vmxoff vmfunc vmrun vmmcall vmload vmsave stgi clgi skinit invlpga invlpgb tlbsync" +
		" psmash pvalidate rmpadjust rmpupdate seamcall seamops seamret tdcall clzero clui stui testui uiret hreset" +
		" ccs_encrypt ccs_hash montmul rep_montmul xcrypt_cbc xcrypt_cfb xcrypt_ctr xcrypt_ecb xcrypt_ofb xsha1 xsha256 xsha512 xstore") {
		d := m[mn]
		d.opaque = true
		m[mn] = d
	}
	return m
}()

// TestZydis compares with what Zydis 4.0 says of one instruction of each kind: each opcode of every map with each
// mandatory prefix, W, vector length and broadcast that is assigned, with a register and a memory operand.
func TestZydis(t *testing.T) {
	const path = "testdata/zydis.tsv"
	if *update {
		writeZydis(t, path)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimRight(string(data), "\n"), "\n")
	if len(lines) < 5000 {
		t.Fatalf("%s has only %d lines", path, len(lines))
	}
	opaque := 0
	for _, line := range lines {
		z := parseZydis(t, line)
		d := deviations[z.mnemonic]
		var in Inst
		if !Decode(z.code, 0, &in) {
			t.Errorf("% x %s: not decoded", z.code, z.mnemonic)
			continue
		}
		if int(in.Len) != z.length {
			t.Errorf("% x %s: length %d, want %d", z.code, z.mnemonic, in.Len, z.length)
			continue
		}
		if in.Flags&Opaque != 0 {
			opaque++
			if !d.opaque {
				t.Errorf("% x %s: opaque", z.code, z.mnemonic)
			}
			if in.Reads != AllRegs || in.Writes != AllRegs {
				t.Errorf("% x %s: opaque, but does not clobber everything", z.code, z.mnemonic)
			}
			continue
		}
		if in.Reads|d.less != z.reads|d.less|in.Reads&d.reads || in.Writes|d.less != z.writes|d.less|in.Writes&d.writes {
			t.Errorf("% x %s: reads %x writes %x, want %x and %x", z.code, z.mnemonic, in.Reads, in.Writes, z.reads, z.writes)
		}
		if d.noMem {
			if in.Flags&HasMem != 0 {
				t.Errorf("% x %s: has a memory operand", z.code, z.mnemonic)
			}
			continue
		}
		if (in.Flags&HasMem != 0) != z.has {
			t.Errorf("% x %s: memory operand %v, want %v", z.code, z.mnemonic, !z.has, z.has)
			continue
		}
		if !z.has {
			continue
		}
		if !d.access && ((in.Flags&MemRead != 0) != z.read || (in.Flags&MemWrite != 0) != z.write) {
			t.Errorf("% x %s: memory access flags %#x, want read %v write %v", z.code, z.mnemonic, in.Flags, z.read, z.write)
		}
		if int(in.MemSize) != z.size && !(d.size && in.MemSize <= uint16(z.size)) {
			t.Errorf("% x %s: memory operand of %d bytes, want %d", z.code, z.mnemonic, in.MemSize, z.size)
		}
		disp := in.Disp
		if in.Base == RIP {
			disp -= int64(in.Len)
		}
		index := z.index
		if index == -2 { // of vectors, which we have not
			index = -1
		}
		if int(int8(in.Base)) != z.base && !d.base || int(int8(in.Index)) != index || index >= 0 && int(in.Scale) != z.scale || disp != z.disp {
			t.Errorf("% x %s: memory at base %d index %d*%d %+d, want %d %d*%d %+d", z.code, z.mnemonic,
				int8(in.Base), int8(in.Index), in.Scale, disp, z.base, index, z.scale, z.disp)
		}
	}
	t.Logf("%d instructions, %d of them opaque", len(lines), opaque)
}

// writeZydis writes the table. Of instructions that it describes alike but for which registers they use one is kept.
func writeZydis(t *testing.T, path string) {
	bin := filepath.Join(t.TempDir(), "zydis")
	args := append([]string{"-O2", "-o", bin, "testdata/zydis.c"}, strings.Fields(os.Getenv("ZYDIS_FLAGS"))...)
	if out, err := exec.Command("gcc", append(args, "-lZydis")...).CombinedOutput(); err != nil {
		t.Fatalf("gcc: %v\n%s", err, out)
	}
	all := opcodeSpace()
	cmd := exec.Command(bin)
	cmd.Stdin = bytes.NewReader(bytes.Join(all, nil))
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var table bytes.Buffer
	seen := map[string]bool{}
	for i, line := range strings.Split(strings.TrimRight(string(out), "\n"), "\n") {
		if line == "-" {
			continue
		}
		f := strings.Fields(line)
		var n int
		fmt.Sscan(f[0], &n)
		reads, _ := strconv.ParseUint(f[2], 16, 16)
		writes, _ := strconv.ParseUint(f[3], 16, 16)
		key := fmt.Sprint(f[1], f[4:7], f[11], encodingOf(all[i]), bits.OnesCount64(reads), bits.OnesCount64(writes), reads > 0xff, writes > 0xff)
		if seen[key] {
			continue
		}
		seen[key] = true
		fmt.Fprintf(&table, "%x\t%s\n", all[i][:n], line)
	}
	if err := os.WriteFile(path, table.Bytes(), 0o666); err != nil {
		t.Fatal(err)
	}
}

// encodingOf tells encodings apart: the same mnemonic may exist in several.
func encodingOf(code []byte) byte {
	switch code[0] {
	case 0xc4, 0x62, 0x8f:
		return code[0]
	}
	return 0
}

// opcodeSpace returns 16 bytes for each opcode of each map in each encoding, with register and memory operands.
func opcodeSpace() (all [][]byte) {
	add := func(head []byte, tail ...byte) {
		b := append(append(make([]byte, 0, 16), head...), tail...)
		for len(b) < 16 {
			b = append(b, byte(0x11*len(b)))
		}
		all = append(all, b)
	}
	operands := func(head ...byte) {
		vex := head[0] == 0xc4 || head[0] == 0x62 || head[0] == 0x8f && len(head) > 1
		for reg := byte(0); reg < 8; reg++ {
			add(head, 0xc1|reg<<3, 0x23) // a register
			add(head, 0xc6|reg<<3, 0x23) // one that may be the high half of another
			add(head, 0x43|reg<<3, 0x02) // 8-bit displacement
			if !vex {
				add(head, 0x05|reg<<3, 0x12, 0x34, 0x56) // RIP
				add(head, 0x44|reg<<3, 0x9e, 0x84)       // index
			} else if reg == 4 && (head[len(head)-1] == 0x58 || head[len(head)-1]&0xfc == 0x90 || head[len(head)-1]&0xfc == 0xa0) {
				add(head, 0x05|reg<<3, 0x12, 0x34, 0x56)
				add(head, 0x44|reg<<3, 0x9e, 0x84) // a vector as index: gather and scatter
			}
		}
	}
	for _, p := range [][]byte{{}, {0x66}, {0xf3}, {0xf2}, {0x48}, {0x66, 0x48}, {0xf3, 0x48}, {0xf2, 0x48}, {0x4f}} {
		for _, m := range [][]byte{{}, {0x0f}, {0x0f, 0x38}, {0x0f, 0x3a}} {
			head := append(append([]byte{}, p...), m...)
			for op := range 256 {
				switch {
				case len(m) == 0 && byteClass[op] != pfNone && op != 0x8f, len(m) == 1 && (op == 0x38 || op == 0x3a):
					continue // prefixes
				case len(m) == 0 && op >= 0xd8 && op <= 0xdf, len(m) == 1 && (op == 0x01 || op == 0xae || op == 0xc7 || op == 0x1e):
					for rm := 0xc0; rm < 0x100; rm++ {
						add(head, byte(op), byte(rm))
					}
				}
				operands(append(append([]byte{}, head...), byte(op))...)
			}
		}
	}
	for op := range 256 {
		for k := byte(0); k < 16; k++ { // W, L, pp
			for _, vvvv := range []byte{0x78, 0x48} { // none; a register
				for m := byte(1); m < 4; m++ {
					operands(0xc4, 0xe0|m, k&8<<4|vvvv|k&7, byte(op))
					operands(0xc4, 0x40|m, k&8<<4|vvvv|k&7, byte(op))
				}
				if k&3 == 0 {
					for m := byte(8); m < 11; m++ {
						operands(0x8f, 0xe0|m, k&8<<4|vvvv|k&7, byte(op))
					}
				}
			}
		}
		for _, m := range []byte{1, 2, 3, 5, 6} {
			for k := byte(0); k < 8; k++ { // W, pp
				for z := byte(0); z < 12; z++ { // length, broadcast, mask
					for _, vvvv := range []byte{0x7c, 0x6c} {
						operands(0x62, 0xf0|m, k&4<<5|vvvv|k&3, z>>2<<5|z>>1&1<<4|8|z&1, byte(op))
					}
				}
			}
		}
	}
	return all
}
