# What rax is at the system call of each function; "?" is unknown, paramK+OFF the argument K.
	.intel_syntax noprefix
	.text
	.globl _start
	.macro fn name
	.globl \name
	.type \name, @function
\name:
	.endm
	.macro done name
	syscall
	ret
	.size \name, .-\name
	.endm

fn through_registers
	mov edx, 39
	mov rcx, rdx
	mov eax, ecx
	done through_registers
fn negative32
	mov eax, -1
	done negative32
fn negative64
	mov rax, -1
	done negative64
fn upper_half_cleared
	movabs rax, 0x100000027
	mov eax, eax
	done upper_half_cleared
fn byte_written
	xor eax, eax
	mov al, 5
	done byte_written
fn argument
	mov rax, rsi
	done argument
fn argument_plus
	lea rax, [rdx+3]
	done argument_plus
fn seventh
	mov rax, [rsp+8]
	done seventh
fn eighth_after_pushes
	push rbx
	sub rsp, 16
	mov eax, [rsp+40]
	add rsp, 16
	pop rbx
	done eighth_after_pushes
fn argument_place_reused
	mov qword ptr [rsp+8], 41
	mov rax, [rsp+8]
	done argument_place_reused
fn pushes
	push 7
	push 8
	pop rcx
	pop rax
	done pushes
fn exchange
	mov ebx, 10
	mov ecx, 11
	xchg rbx, rcx
	mov rax, rbx
	done exchange
fn either
	mov eax, 20
	mov ecx, 21
	test edi, edi
	cmove eax, ecx
	done either
fn branches
	mov eax, 30
	test edi, edi
	je 1f
	mov eax, 31
1:	done branches
fn loop_counter
	xor eax, eax
1:	inc eax
	cmp eax, edi
	jne 1b
	done loop_counter
fn loop_invariant
	mov eax, 33
1:	dec edi
	jne 1b
	done loop_invariant
fn call_clobbers
	mov ecx, 5
	call through_registers
	mov eax, ecx
	done call_clobbers
fn call_keeps
	push rbx
	mov ebx, 6
	call through_registers
	mov eax, ebx
	pop rbx
	done call_keeps
fn stack_kept
	sub rsp, 24
	mov qword ptr [rsp+8], 9
	call through_registers
	mov rax, [rsp+8]
	add rsp, 24
	done stack_kept
fn stack_escaped
	sub rsp, 24
	mov qword ptr [rsp+8], 9
	lea rdi, [rsp+8]
	call through_registers
	mov rax, [rsp+8]
	add rsp, 24
	done stack_escaped
fn stack_written_through_pointer
	sub rsp, 24
	mov qword ptr [rsp+8], 9
	lea rcx, [rsp+8]
	mov qword ptr [rcx], 10
	mov rax, [rsp+8]
	add rsp, 24
	done stack_written_through_pointer
fn frame_pointer
	push rbp
	mov rbp, rsp
	sub rsp, 32
	mov dword ptr [rbp-20], 12
	mov eax, [rbp-20]
	leave
	done frame_pointer
fn aligned
	push rbp
	mov rbp, rsp
	sub rsp, 32
	and rsp, -32
	mov dword ptr [rbp-20], 13
	mov eax, [rbp-20]
	leave
	done aligned
fn alloca
	push rbp
	mov rbp, rsp
	sub rsp, 32
	mov qword ptr [rbp-8], 14
	sub rsp, rdi
	mov rax, [rbp-8]
	leave
	done alloca
fn alloca_written
	push rbp
	mov rbp, rsp
	sub rsp, 32
	mov qword ptr [rbp-8], 14
	sub rsp, rdi
	mov qword ptr [rsp], 15
	mov rax, [rbp-8]
	leave
	done alloca_written
fn block_cleared
	sub rsp, 40
	mov qword ptr [rsp+16], 16
	lea rdi, [rsp]
	mov ecx, 4
	rep stosq
	mov rax, [rsp+16]
	add rsp, 40
	done block_cleared
fn zero
	sub eax, eax
	done zero
fn masked
	mov eax, 0x127
	and eax, 0xff
	done masked
fn extended
	mov ecx, 0x1ff
	movzx eax, cl
	done extended
fn sign_extended
	mov ecx, 0x80
	movsx eax, cl
	done sign_extended
fn half_of_slot
	sub rsp, 24
	mov ecx, -2
	mov [rsp], ecx
	movsxd rax, dword ptr [rsp]
	add rsp, 24
	done half_of_slot
fn shifted
	mov ecx, 33
	mov eax, 3
	shl eax, cl
	done shifted
fn opaque_result
	rdtsc
	done opaque_result
fn _start
	done _start
	.section .note.GNU-stack,"",@progbits

# WANT: rax through_registers=39 negative32=4294967295 negative64=-1 upper_half_cleared=39 byte_written=?
# WANT: rax argument=param1+0 argument_plus=param2+3 seventh=param6+0 eighth_after_pushes=param7+0 argument_place_reused=41
# WANT: rax pushes=7 exchange=11 either=20|21 branches=30|31 loop_counter=? loop_invariant=33
# WANT: rax call_clobbers=? call_keeps=6 stack_kept=9 stack_escaped=? stack_written_through_pointer=10
# WANT: rax frame_pointer=12 aligned=13 alloca=14 alloca_written=? block_cleared=? zero=0 masked=39 extended=255
# WANT: rax sign_extended=4294967168 half_of_slot=-2 shifted=6 opaque_result=?
