# Hand-written code; WANT lines as in flow.c. "incomplete F" is wanted where control flow cannot be known, "absent L": no
# function begins at L, "joined F L": F has a block at L.
#
# WANT: calls _start locked behind
# WANT: noreturn _start
	.text
	.globl _start
	.type _start, @function
_start:
	.cfi_startproc
	call locked
	call behind
	call strided
	call pushed
	call first
	call mixed
	call computed
	call fallcond
	call thunked
	call through
	lea constants(%rip), %rax
	movdqa (%rax), %xmm0
	lea table(%rip), %rcx
	call *(%rcx)
	mov $231, %eax
	xor %edi, %edi
	syscall
	.cfi_endproc
	.size _start, .-_start

# A return thunk, as -mfunction-return=thunk makes it.
# WANT: returns thunked return_thunk
	.type thunked, @function
thunked:
	.cfi_startproc
	mov $1, %eax
	jmp return_thunk
	.cfi_endproc
	.size thunked, .-thunked

	.type return_thunk, @function
return_thunk:
	.cfi_startproc
	call 2f
1:	pause
	lfence
	jmp 1b
2:	lea 8(%rsp), %rsp
	ret
	.cfi_endproc
	.size return_thunk, .-return_thunk

# An indirect call as -mindirect-branch=thunk makes it.
# WANT: returns through
# WANT: joined through behind_thunk
	.type through, @function
through:
	.cfi_startproc
	push %rbx
	lea locked(%rip), %r13
	call thunk_r13
behind_thunk:
	pop %rbx
	ret
	.cfi_endproc
	.size through, .-through

	.type thunk_r13, @function
thunk_r13:
	.cfi_startproc
	call 2f
1:	pause
	lfence
	jmp 1b
2:	mov %r13, (%rsp)
	ret
	.cfi_endproc
	.size thunk_r13, .-thunk_r13

# A jump behind the lock prefix: two instructions overlap.
# WANT: returns locked
# WANT: joined locked behind_prefix
	.type locked, @function
locked:
	.cfi_startproc
	test %edi, %edi
	je behind_prefix
	.byte 0xf0
behind_prefix:
	cmpxchg %ecx, (%rdx)
	ret
	.cfi_endproc

# Data among the code.
# WANT: absent constants
	.balign 16
constants:
	.byte 0x06, 0x07, 0x0e, 0x16, 0x17, 0x1e, 0x1f, 0x27
	.byte 0x06, 0x07, 0x0e, 0x16, 0x17, 0x1e, 0x1f, 0x27

# A function without unwind entry, only called, that leaves by a jump into the middle of another.
# WANT: tails behind middle
	.balign 16
behind:
	xor %eax, %eax
	jmp middle

# WANT: returns other middle behind
	.type other, @function
other:
	.cfi_startproc
	mov $1, %eax
middle:
	inc %eax
	ret
	.cfi_endproc

# WANT: switch strided 4
# WANT: joined strided piece3
	.balign 16
	.type strided, @function
strided:
	.cfi_startproc
	and $3, %ecx
	lea pieces(%rip), %rdx
	shl $4, %rcx
	add %rcx, %rdx
	jmp *%rdx
	.balign 16
pieces:
	mov $1, %eax
	ret
	.balign 16
	mov $2, %eax
	ret
	.balign 16
	mov $3, %eax
	ret
	.balign 16
piece3:
	mov $4, %eax
	ret
	.cfi_endproc

# WANT: incomplete pushed
	.type pushed, @function
pushed:
	.cfi_startproc
	push %rdi
	xor %eax, %eax
	ret
	.cfi_endproc

# WANT: incomplete computed
	.type computed, @function
computed:
	.cfi_startproc
	lea computed_here(%rip), %rax
	imul %rdi, %rdi
	add %rdi, %rax
	jmp *%rax
computed_here:
	ret
	.cfi_endproc

# Falls into the next function.
# WANT: tails first second
# WANT: returns first
	.type first, @function
first:
	.cfi_startproc
	mov $1, %eax
	.cfi_endproc
	.type second, @function
second:
	.cfi_startproc
	ret
	.cfi_endproc

# Both ways of a branch leave.
# WANT: joined fallcond behind_fallcond
# WANT: returns fallcond
	.type fallcond, @function
fallcond:
	.cfi_startproc
	cmp %rsi, %rdi
	jb other
	.cfi_endproc
behind_fallcond:
	nop
	.type third, @function
third:
	.cfi_startproc
	ret
	.cfi_endproc

# The number of the call is not the same on both ways: the call may return.
# WANT: returns mixed
	.type mixed, @function
mixed:
	.cfi_startproc
	mov $60, %eax
	test %edi, %edi
	je 1f
	mov $39, %eax
1:	syscall
	ret
	.cfi_endproc

	.section .data.rel.ro, "aw"
	.balign 8
table:
	.quad second
