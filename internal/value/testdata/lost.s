# Which functions lose sight of the address of target. What deep loads is too far away to have a name.
	.intel_syntax noprefix
	.text
	.globl _start
	.macro fn name
	.globl \name
	.type \name, @function
\name:
	.endm
	.macro done name
	ret
	.size \name, .-\name
	.endm
	.macro deep reg
	mov \reg, [rdi]
	mov \reg, [\reg]
	mov \reg, [\reg]
	mov \reg, [\reg]
	mov \reg, [\reg]
	.endm

# A conditional move merges what it moves with what was there.
fn cmov_of_unknown
	lea rcx, target[rip]
	deep rax
	test rsi, rsi
	cmovne rax, rcx
	call rax
	done cmov_of_unknown
# WANT: lost cmov_of_unknown
fn cmov_into_unknown
	deep rcx
	lea rax, target[rip]
	test rsi, rsi
	cmovne rax, rcx
	call rax
	done cmov_into_unknown
# WANT: lost cmov_into_unknown
fn cmov_of_known
	lea rcx, target[rip]
	mov rax, [rdi]
	test rsi, rsi
	cmovne rax, rcx
	call rax
	done cmov_of_known
# WANT: kept cmov_of_known

# Zeroing a register is no use of what was in it.
fn zeroed
	sub rsp, 8
	lea rax, target[rip]
	mov rdi, rax
	xor eax, eax
	call plain
	add rsp, 8
	done zeroed
# WANT: kept zeroed
fn hashed
	lea rax, target[rip]
	xor eax, esi
	done hashed
# WANT: lost hashed

# rax and r10 are no arguments, but of functions that look there.
fn left_in_rax
	sub rsp, 8
	lea rax, target[rip]
	mov rdi, rax
	call plain
	add rsp, 8
	done left_in_rax
# WANT: kept left_in_rax
fn given_in_rax
	sub rsp, 8
	lea rax, target[rip]
	mov rdi, rax
	call finds
	add rsp, 8
	done given_in_rax
# WANT: lost given_in_rax
fn left_in_r10
	sub rsp, 8
	lea r10, target[rip]
	mov rdi, r10
	call finds
	add rsp, 8
	done left_in_r10
# WANT: kept left_in_r10

# One place of the frame that is read says nothing of the others.
fn other_place_read
	sub rsp, 24
	lea rax, target[rip]
	mov [rsp], rax
	mov rcx, [rsp+16]
	mov rdi, [rsp]
	call plain
	add rsp, 24
	done other_place_read
# WANT: kept other_place_read
fn part_read
	sub rsp, 24
	lea rax, target[rip]
	mov [rsp], rax
	movzx ecx, word ptr [rsp+2]
	mov rax, rcx
	add rsp, 24
	done part_read
# WANT: lost part_read

# Places that only one of two paths knows, and what comes then. Registers forget the address before the paths meet.
fn dead_place
	sub rsp, 24
	test esi, esi
	je 1f
	lea rax, target[rip]
	mov [rsp+8], rax
	mov rdi, [rsp+8]
	call plain
1:	xor eax, eax
	add rsp, 24
	done dead_place
# WANT: kept dead_place
fn place_read
	sub rsp, 24
	test esi, esi
	je 1f
	lea rax, target[rip]
	mov [rsp+8], rax
	xor eax, eax
1:	mov rax, [rsp+8]
	add rsp, 24
	done place_read
# WANT: lost place_read
fn place_written_first
	sub rsp, 24
	test esi, esi
	je 1f
	lea rax, target[rip]
	mov [rsp+8], rax
	mov rdi, [rsp+8]
1:	mov [rsp+8], rdi
	mov rax, [rsp+8]
	add rsp, 24
	done place_written_first
# WANT: kept place_written_first
fn place_written_on_one_path
	sub rsp, 24
	test esi, esi
	je 1f
	lea rax, target[rip]
	mov [rsp+8], rax
	xor eax, eax
1:	cmp esi, 3
	je 2f
	mov [rsp+8], rdi
2:	mov rax, [rsp+8]
	add rsp, 24
	done place_written_on_one_path
# WANT: lost place_written_on_one_path
fn half_read_after_half_is_written
	sub rsp, 24
	test esi, esi
	je 1f
	lea rax, target[rip]
	mov [rsp+8], rax
	mov rdi, [rsp+8]
	xor eax, eax
1:	mov [rsp+8], esi
	mov eax, [rsp+8]
	add rsp, 24
	done half_read_after_half_is_written
# WANT: kept half_read_after_half_is_written
fn place_of_argument
	sub rsp, 24
	test esi, esi
	je 1f
	lea rax, target[rip]
	mov [rsp], rax
	xor eax, eax
1:	call plain
	add rsp, 24
	done place_of_argument
# WANT: lost place_of_argument
fn place_passed_on
	sub rsp, 24
	test esi, esi
	je 1f
	lea rax, target[rip]
	mov [rsp+8], rax
	mov rax, [rsp+8]
	xor eax, eax
1:	lea rdi, [rsp+8]
	call plain
	add rsp, 24
	done place_passed_on
# WANT: lost place_passed_on
fn object_passed_on
	sub rsp, 40
	test esi, esi
	je 1f
	lea rax, target[rip]
	mov [rsp+8], rax
	mov rax, [rsp+8]
	xor eax, eax
1:	lea rdi, [rsp+24]
	call plain
	add rsp, 40
	done object_passed_on
# WANT: lost object_passed_on
fn place_read_through_memory
	sub rsp, 24
	lea rax, [rsp+8]
	mov [rdi], rax
	test esi, esi
	je 1f
	lea rax, target[rip]
	mov [rsp+8], rax
	mov rax, [rsp+8]
	xor eax, eax
1:	mov rax, [rdi]
	mov rax, [rax]
	add rsp, 24
	done place_read_through_memory
# WANT: lost place_read_through_memory
fn place_read_in_a_round
	push rbx
	sub rsp, 16
	mov ebx, 3
1:	test ebx, ebx
	je 2f
	mov rdi, [rsp+8]
	call plain
	lea rax, target[rip]
	mov [rsp+8], rax
	dec ebx
	jmp 1b
2:	add rsp, 16
	pop rbx
	done place_read_in_a_round
# WANT: lost place_read_in_a_round

fn plain
	xor eax, eax
	done plain
fn finds
	mov [rdi], rax
	done finds
fn target
	done target
fn _start
	done _start
