# Which functions may find something in rax or r10, which hold no arguments.
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

fn takes_rax
	mov [rdi], rax
	done takes_rax
# WANT: rax takes_rax
fn takes_r10
	mov rax, r10
	done takes_r10
# WANT: r10 takes_r10
fn calls_taker
	sub rsp, 8
	call takes_rax
	add rsp, 8
	done calls_taker
# WANT: rax calls_taker
fn calls_taker_with_another
	sub rsp, 8
	mov rax, rdi
	call takes_rax
	add rsp, 8
	done calls_taker_with_another
# WANT: none calls_taker_with_another
fn jumps_to_taker
	test edi, edi
	jne takes_rax
	done jumps_to_taker
# WANT: rax jumps_to_taker
fn takes_on_one_path
	test edi, edi
	je 1f
	mov eax, 3
1:	mov [rdi], rax
	done takes_on_one_path
# WANT: rax takes_on_one_path
fn variadic
	test al, al
	je 1f
	movaps [rsp-24], xmm0
1:	xor eax, eax
	done variadic
# WANT: none variadic
fn takes_result
	sub rsp, 8
	xor eax, eax
	call variadic
	mov [rdi], rax
	add rsp, 8
	done takes_result
# WANT: none takes_result
fn takes_after_call
	sub rsp, 8
	call r10
	mov [rdi], r10
	add rsp, 8
	done takes_after_call
# WANT: r10 takes_after_call
fn unknown_jump
	lea rcx, [rip+_start]
	add rcx, rdi
	jmp rcx
	.size unknown_jump, .-unknown_jump
fn _start
	call calls_taker
	call calls_taker_with_another
	call jumps_to_taker
	call takes_on_one_path
	call takes_result
	call takes_after_call
	call takes_r10
	call unknown_jump
	done _start
