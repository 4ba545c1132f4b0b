// Prints what Zydis says of instructions: 16 bytes in, one line out ("-" if there is none,
// or one of Knights Corner, whose encodings are not those of other processors):
//
//	length mnemonic reads writes hasmem memread memwrite base index scale disp memsize
//
// reads and writes are sets of general-purpose registers (hex, bit by hardware number); a write of fewer than 32 bits and a
// conditional write read too. base and index are hardware numbers, 16 RIP, -1 none, -2 a vector register. Of several memory
// operands the last one that is written, else the last one, is printed, implied ones on the stack excepted.
// Used by TestZydis -update only: gcc -O2 zydis.c -lZydis (Debian: libzydis-dev).
#include <Zydis/Zydis.h>
#include <stdio.h>
#include <string.h>

static int gpr(ZydisRegister r)
{
	if (r == ZYDIS_REGISTER_NONE)
		return -1;
	if (r == ZYDIS_REGISTER_RIP || r == ZYDIS_REGISTER_EIP)
		return 16;
	r = ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, r);
	return ZydisRegisterGetClass(r) == ZYDIS_REGCLASS_GPR64 ? ZydisRegisterGetId(r) : -2;
}

int main(void)
{
	unsigned char code[16];
	ZydisDecoder decoder;
	ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	while (fread(code, 1, 16, stdin) == 16) {
		ZydisDecodedInstruction in;
		ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];
		if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, code, 15, &in, op)) || !strncmp(ZydisISASetGetString(in.meta.isa_set), "KNC", 3)) {
			puts("-");
			continue;
		}
		unsigned reads = 0, writes = 0;
		int has = 0, mr = 0, mw = 0, base = -1, index = -1, scale = 0, size = 0;
		long long disp = 0;
		for (int i = 0; i < in.operand_count; i++) {
			const ZydisDecodedOperand *o = &op[i];
			int r = !!(o->actions & ZYDIS_OPERAND_ACTION_MASK_READ), w = !!(o->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE);
			if (o->type == ZYDIS_OPERAND_TYPE_REGISTER) {
				int g = gpr(o->reg.value);
				if (g < 0 || g > 15)
					continue;
				if (w)
					writes |= 1u << g;
				if (r || w && o->size < 32 || o->actions & ZYDIS_OPERAND_ACTION_CONDWRITE)
					reads |= 1u << g;
			} else if (o->type == ZYDIS_OPERAND_TYPE_MEMORY) {
				int b = gpr(o->mem.base), x = gpr(o->mem.index);
				if (b >= 0 && b < 16)
					reads |= 1u << b;
				if (x >= 0 && x < 16)
					reads |= 1u << x;
				if (o->visibility != ZYDIS_OPERAND_VISIBILITY_EXPLICIT && (b == 4 || b == 5))
					continue;
				has = 1;
				if (o->mem.type == ZYDIS_MEMOP_TYPE_AGEN || o->mem.type == ZYDIS_MEMOP_TYPE_MIB)
					r = w = 0;
				if (!mw || w) {
					base = b, index = x, scale = o->mem.scale, disp = o->mem.disp.value, size = o->size / 8;
				}
				mr |= r;
				mw |= w;
			}
		}
		printf("%d %s %x %x %d %d %d %d %d %d %lld %d\n", in.length, ZydisMnemonicGetString(in.mnemonic), reads, writes, has, mr, mw,
		       base, index, scale, disp, size);
	}
	return 0;
}
