# What a hardened program runs to see whether the modules that are loaded are the ones that it was made for.
#
# struct r_debug and struct link_map are those of glibc's link.h, which musl fills in as well; headers and notes those of elf.h.
# Nothing but general-purpose registers is used, and all of them are kept, with the flags.

	.text
# The program's entry: the loader has mapped and relocated the modules that the program starts with.
start:
	endbr64
	call	late
	lea	params(%rip), %r11
	add	8(%r11), %r11
	jmp	*%r11			# the program's own entry

	.org	32
# The same as a function, for later.
late:
	pushfq
	push	%rax
	push	%rbx
	push	%rcx
	push	%rdx
	push	%rsi
	push	%rdi
	push	%rbp
	push	%r8
	push	%r9
	push	%r10
	push	%r11
	push	%r12
	cld
	lea	params(%rip), %rbx
	mov	(%rbx), %rax
	add	%rbx, %rax		# PT_DYNAMIC
.Ltag:
	mov	(%rax), %rcx
	test	%rcx, %rcx
	jz	.Ldone
	cmp	$21, %rcx		# DT_DEBUG
	je	.Ldebug
	add	$16, %rax
	jmp	.Ltag
.Ldebug:
	mov	8(%rax), %rax		# struct r_debug
	test	%rax, %rax
	jz	.Ldone
	cmpl	$0, 24(%rax)		# RT_CONSISTENT: nobody is changing the list
	jne	.Ldone
	mov	8(%rax), %r12		# struct link_map of the program
	test	%r12, %r12
	jz	.Ldone
.Lnext:
	mov	24(%r12), %r12		# l_next
	test	%r12, %r12
	jz	.Ldone
	mov	(%r12), %rbp		# l_addr, where the ELF header is
	test	%rbp, %rbp
	jz	.Lbad
	cmpl	$0x464c457f, (%rbp)
	jne	.Lbad
	movzwl	56(%rbp), %ecx		# e_phnum
	mov	32(%rbp), %rsi		# e_phoff
	add	%rbp, %rsi
.Lheader:
	dec	%ecx
	js	.Lanonymous
	cmpl	$4, (%rsi)		# PT_NOTE
	je	.Lnotes
.Lskip:
	add	$56, %rsi
	jmp	.Lheader
.Lnotes:
	mov	16(%rsi), %rdi		# p_vaddr
	add	%rbp, %rdi
	mov	40(%rsi), %rdx		# p_memsz
	add	%rdi, %rdx		# end
.Lnote:
	lea	12(%rdi), %rax
	cmp	%rdx, %rax
	ja	.Lskip
	mov	(%rdi), %r8d		# n_namesz
	mov	4(%rdi), %r9d		# n_descsz
	mov	$4, %r11d
	cmpq	$8, 48(%rsi)		# p_align
	jne	1f
	mov	$8, %r11d
1:	lea	11(%r8,%r11), %r10
	neg	%r11
	and	%r11, %r10
	add	%rdi, %r10		# the description
	lea	(%r10,%r9), %rax
	cmp	%rdx, %rax
	ja	.Lskip
	cmpl	$3, 8(%rdi)		# NT_GNU_BUILD_ID
	jne	2f
	cmp	$4, %r8d
	jne	2f
	cmpl	$0x554e47, 12(%rdi)	# "GNU"
	je	.Lfound
2:	mov	%r11, %rax
	not	%rax
	add	%r9, %rax
	and	%r11, %rax
	lea	(%r10,%rax), %rdi
	jmp	.Lnote
.Lfound:
	mov	24(%rbx), %r8		# number of build-ids
	lea	32(%rbx), %rdx
.Lid:
	test	%r8, %r8
	jz	.Lbad
	cmp	%r9, (%rdx)
	jne	3f
	lea	8(%rdx), %rdi
	mov	%r10, %rsi
	mov	%r9, %rcx
	repe cmpsb
	je	.Lnext
3:	add	$40, %rdx
	dec	%r8
	jmp	.Lid
.Lanonymous:
	testb	$2, 16(%rbx)		# there was one without build-id
	jnz	.Lnext
.Lbad:
	# writev(2, {first, l_name, second}, 3)
	mov	8(%r12), %rsi		# l_name
	xor	%ecx, %ecx
4:	cmpb	$0, (%rsi,%rcx)
	je	5f
	inc	%rcx
	jmp	4b
5:	push	$second_len
	lea	second(%rip), %rax
	push	%rax
	push	%rcx
	push	%rsi
	push	$first_len
	lea	first(%rip), %rax
	push	%rax
	mov	$20, %eax		# writev
	mov	$2, %edi
	mov	%rsp, %rsi
	mov	$3, %edx
	syscall
	add	$48, %rsp
	testb	$1, 16(%rbx)
	jz	.Lnext
	mov	$231, %eax		# exit_group
	mov	$125, %edi
	syscall
	ud2
.Ldone:
	pop	%r12
	pop	%r11
	pop	%r10
	pop	%r9
	pop	%r8
	pop	%rbp
	pop	%rdi
	pop	%rsi
	pop	%rdx
	pop	%rcx
	pop	%rbx
	pop	%rax
	popfq
	ret

first:	.ascii	"syspart: "
	.set	first_len, . - first
second:	.ascii	": not a file that this program was hardened for; profile and harden it again\n"
	.set	second_len, . - second

	.balign	8
# Here follow: the distances from here to PT_DYNAMIC and to the program's entry; flags, 1: end the process, 2: modules without
# build-id pass; the number of build-ids; for each its length and 32 bytes.
params:
