# What compilers write rarely, by hand: calls through 32-bit tables, through vector registers, through slots that push and
# pop write, and through addresses that are computed from others.
	.text

	.macro function name, n
	.globl \name
	.type \name, @function
	.balign 16
\name:
	.cfi_startproc
	movl $\n, sink(%rip)
	ret
	.cfi_endproc
	.size \name, .-\name
	.endm

	.macro begin name
	.globl \name
	.type \name, @function
	.balign 16
\name:
	.cfi_startproc
	.endm

	.macro end name
	.cfi_endproc
	.size \name, .-\name
	.endm

	function rel_one 1
	function rel_two 2
	function rel_tail_one 3
	function rel_tail_two 4
	function rel_stored_one 5
	function rel_stored_two 6
	function by_vector 7
	function by_pop 8
	function by_push 9
	function by_sum 10
	function by_lea 11
	function by_exchange 12
	function by_swap 13
	function by_string 14
	function by_memory 15
	function by_index_one 16
	function by_index_two 17
	function by_cmov_one 18
	function by_cmov_two 19
	function by_got 20
	function by_plus 21
	function by_stack 22
	function by_data_plus 23
	function by_enter 24
	function by_conditional 25
	function by_code_pointer 26
	function by_quad_difference 27

# Differences from the table, added to its address. WANT lines stand before what they are about.
# WANT: call_relative -> rel_one, rel_two
	begin call_relative
	sub $8, %rsp
	lea relative(%rip), %rdx
	and $1, %edi
	movslq (%rdx,%rdi,4), %rax
	add %rdx, %rax
	call *%rax
	add $8, %rsp
	ret
	end call_relative

# WANT: tail_relative -> rel_tail_one, rel_tail_two
	begin tail_relative
	lea relative_tail(%rip), %rdx
	and $1, %edi
	movslq (%rdx,%rdi,4), %rax
	add %rdx, %rax
	jmp *%rax
	end tail_relative

# The sum is stored, and called elsewhere.
# WANT: call_stored -> rel_stored_one, rel_stored_two
	begin store_relative
	lea relative_stored(%rip), %rdx
	and $1, %edi
	movslq (%rdx,%rdi,4), %rax
	add %rdx, %rax
	mov %rax, slot_relative(%rip)
	ret
	end store_relative
	begin call_stored
	sub $8, %rsp
	call *slot_relative(%rip)
	add $8, %rsp
	ret
	end call_stored

# 64-bit differences.
# WANT: call_quad -> by_quad_difference
	begin call_quad
	sub $8, %rsp
	lea quad(%rip), %rax
	add quad(%rip), %rax
	call *%rax
	add $8, %rsp
	ret
	end call_quad

# Kept in a vector register, and moved there from memory.
# WANT: call_vector -> by_vector
	begin call_vector
	sub $8, %rsp
	lea by_vector(%rip), %rax
	movq %rax, %xmm1
	xor %eax, %eax
	movdqa %xmm1, %xmm0
	movq %xmm0, %rdx
	call *%rdx
	add $8, %rsp
	ret
	end call_vector

# WANT: call_popped -> by_pop
	begin set_popped
	lea by_pop(%rip), %rax
	push %rax
	pop slot_popped(%rip)
	ret
	end set_popped
	begin call_popped
	push %rbx
	call *slot_popped(%rip)
	pop %rbx
	ret
	end call_popped

# Pushed from memory, and taken from the stack.
# WANT: call_pushed -> by_push
	begin set_pushed
	lea by_push(%rip), %rax
	mov %rax, slot_pushed(%rip)
	ret
	end set_pushed
	begin call_pushed
	push slot_pushed(%rip)
	call *(%rsp)
	pop %rcx
	ret
	end call_pushed

# Made from the address of another function, by an addition and by lea.
# WANT: call_sum -> by_sum
	begin call_sum
	sub $8, %rsp
	lea by_pop(%rip), %rax
	add $by_sum - by_pop, %rax
	call *%rax
	add $8, %rsp
	ret
	end call_sum

# WANT: call_lea -> by_lea
	begin set_lea
	lea by_pop(%rip), %rax
	lea by_lea - by_pop(%rax), %rcx
	mov %rcx, slot_lea(%rip)
	ret
	end set_lea
	begin call_lea
	sub $8, %rsp
	call *slot_lea(%rip)
	add $8, %rsp
	ret
	end call_lea

# Exchanged with memory, and between registers.
# WANT: call_exchanged -> by_exchange
	begin set_exchanged
	lea by_exchange(%rip), %rax
	xchg %rax, slot_exchanged(%rip)
	ret
	end set_exchanged
	begin call_exchanged
	sub $8, %rsp
	call *slot_exchanged(%rip)
	add $8, %rsp
	ret
	end call_exchanged

# WANT: call_swapped -> by_swap
	begin call_swapped
	sub $8, %rsp
	lea by_swap(%rip), %rax
	xor %ecx, %ecx
	xchg %rax, %rcx
	call *%rcx
	add $8, %rsp
	ret
	end call_swapped

# Stored and loaded by string instructions.
# WANT: call_string -> by_string
	begin set_string
	lea by_string(%rip), %rax
	lea slot_string(%rip), %rdi
	stosq
	ret
	end set_string
	begin call_string
	sub $8, %rsp
	lea slot_string(%rip), %rsi
	lodsq
	call *%rax
	add $8, %rsp
	ret
	end call_string

# Copied from constant data by a string instruction.
# WANT: call_memory -> by_memory
	begin set_memory
	lea constants(%rip), %rsi
	lea slot_memory(%rip), %rdi
	mov $1, %ecx
	rep movsq
	ret
	end set_memory
	begin call_memory
	sub $8, %rsp
	call *slot_memory(%rip)
	add $8, %rsp
	ret
	end call_memory

# A table that code addresses from behind it, with a negative index.
# WANT: call_index -> by_index_one, by_index_two
	begin call_index
	sub $8, %rsp
	lea indexed_end(%rip), %rdx
	and $1, %edi
	not %rdi
	call *(%rdx,%rdi,8)
	add $8, %rsp
	ret
	end call_index

# Chosen by a conditional move from memory.
# WANT: call_cmov -> by_cmov_one, by_cmov_two
	begin call_cmov
	sub $8, %rsp
	lea by_cmov_one(%rip), %rax
	test %edi, %edi
	cmovne constant_cmov(%rip), %rax
	call *%rax
	add $8, %rsp
	ret
	end call_cmov

# From the global offset table.
# WANT: call_got -> by_got
	begin set_got
	mov by_got@GOTPCREL(%rip), %rax
	mov %rax, slot_got(%rip)
	ret
	end set_got
	begin call_got
	sub $8, %rsp
	call *slot_got(%rip)
	add $8, %rsp
	ret
	end call_got

# Behind the entry of a function: the pointer is to the middle, and what is called is one less.
# WANT: call_plus -> by_plus
	begin set_plus
	lea by_plus+1(%rip), %rax
	mov %rax, slot_plus(%rip)
	ret
	end set_plus
	begin call_plus
	sub $8, %rsp
	mov slot_plus(%rip), %rax
	dec %rax
	call *%rax
	add $8, %rsp
	ret
	end call_plus

# The same in data.
# By fixed addresses, where words in data that look like addresses of code are many, it is not found: no expectation.
	begin call_data_plus
	sub $8, %rsp
	mov constant_plus(%rip), %rax
	dec %rax
	call *%rax
	add $8, %rsp
	ret
	end call_data_plus

# In the frame of a function whose address r10 hands to the function that is nested in it.
# WANT: call_chain -> by_stack
	begin set_chain
	sub $24, %rsp
	lea by_stack(%rip), %rax
	mov %rax, 8(%rsp)
	lea 8(%rsp), %r10
	call call_chain
	add $24, %rsp
	ret
	end set_chain
	begin call_chain
	sub $8, %rsp
	call *(%r10)
	add $8, %rsp
	ret
	end call_chain

# In a frame that enter makes.
# WANT: call_entered -> by_enter
	begin call_entered
	enter $16, $0
	lea by_enter(%rip), %rax
	mov %rax, -8(%rbp)
	xor %eax, %eax
	call *-8(%rbp)
	leave
	ret
	end call_entered

# A jump to a function on a condition, with what it needs.
# WANT: main => by_conditional
	begin jump_conditional
	cmp $100, %edi
	jb by_conditional
	ret
	end jump_conditional

# A pointer among code.
# WANT: call_code_pointer -> by_code_pointer
	begin call_code_pointer
	sub $8, %rsp
	lea code_pointer(%rip), %rax
	movslq (%rax), %rcx
	add %rcx, %rax
	call *%rax
	add $8, %rsp
	ret
	.balign 4
code_pointer:
	.long by_code_pointer - code_pointer
	end call_code_pointer

	begin main
	push %rbx
	xor %edi, %edi
	call call_relative
	mov $1, %edi
	call call_relative
	xor %edi, %edi
	call tail_relative
	mov $1, %edi
	call tail_relative
	xor %edi, %edi
	call store_relative
	call call_stored
	mov $1, %edi
	call store_relative
	call call_stored
	call call_quad
	call call_vector
	call set_popped
	call call_popped
	call set_pushed
	call call_pushed
	call call_sum
	call set_lea
	call call_lea
	call set_exchanged
	call call_exchanged
	call call_swapped
	call set_string
	call call_string
	call set_memory
	call call_memory
	xor %edi, %edi
	call call_index
	mov $1, %edi
	call call_index
	xor %edi, %edi
	call call_cmov
	mov $1, %edi
	call call_cmov
	call set_got
	call call_got
	call set_plus
	call call_plus
	call set_chain
	call call_entered
	call call_data_plus
	mov $1, %edi
	call jump_conditional
	call call_code_pointer
	xor %eax, %eax
	pop %rbx
	ret
	end main

	.section .rodata
	.balign 8
	.macro data name, size
	.type \name, @object
	.size \name, \size
\name:
	.endm
	data relative, 8
	.long rel_one - relative, rel_two - relative
	data relative_tail, 8
	.long rel_tail_one - relative_tail, rel_tail_two - relative_tail
	data relative_stored, 8
	.long rel_stored_one - relative_stored, rel_stored_two - relative_stored
	data quad, 8
	.quad by_quad_difference - quad

	.section .data.rel.ro, "aw"
	.balign 8
	data constants, 8
	.quad by_memory
	data constant_cmov, 8
	.quad by_cmov_two
	data constant_plus, 8
	.quad by_data_plus+1
	data indexed, 16
	.quad by_index_one, by_index_two
indexed_end:

	.bss
	.balign 8
	.macro slot name
	.type \name, @object
	.size \name, 8
\name:	.zero 8
	.endm
	slot sink
	slot slot_relative
	slot slot_popped
	slot slot_pushed
	slot slot_lea
	slot slot_exchanged
	slot slot_string
	slot slot_memory
	slot slot_got
	slot slot_plus
	.section .note.GNU-stack, "", @progbits
