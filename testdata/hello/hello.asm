; Writes a line and ends, without libc; fixture of eval/anybin.sh.
global _start
section .data
text: db "hello", 10
section .text
_start:
	mov eax, 1
	mov edi, 1
	lea rsi, [rel text]
	mov edx, 6
	syscall
	mov eax, 231
	xor edi, edi
	syscall
