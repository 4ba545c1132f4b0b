// Calls that Go's run time does not make by itself, one for each way in which code is found. See golang_test.go.
package main

import (
	"os"
	"reflect"
	"syscall"
)

// number is set where a test asks for it: WANT 140, 141.
var number uintptr = 140

//go:noinline
func ask(n uintptr) { syscall.RawSyscall(n, 0, 0, 0) }

type found struct{}

// Reflected is only called by package reflect: WANT 145.
func (found) Reflected() { ask(145) }

// Asserted is only called through an interface that the run time makes a table for: WANT 146.
func (*found) Asserted() { syscall.Syscall(146, 0, 0, 0) }

//go:noinline
func recovered() {
	defer func() {
		if recover() != nil {
			syscall.Syscall6(147, 0, 0, 0, 0, 0, 0) // WANT 147
		}
	}()
	var p *found
	_ = *p
	panic("lost")
}

//go:noinline
func table(i int) func(uintptr) {
	return []func(uintptr){func(uintptr) { ask(142) }, func(uintptr) { syscall.RawSyscall6(124, 0, 0, 0, 0, 0, 0) }}[i] // WANT 124
}

func main() {
	if len(os.Args) > 5 {
		number = 141
	}
	ask(number)
	reflect.ValueOf(found{}).Method(0).Call(nil)
	var x any = &found{}
	if len(os.Args) < 9 {
		x.(interface{ Asserted() }).Asserted()
	}
	recovered()
	done := make(chan bool)
	go func() {
		syscall.RawSyscall(121, 0, 0, 0) // WANT 121
		done <- true
	}()
	<-done
	more()
	table(len(os.Args) % 2)
}
