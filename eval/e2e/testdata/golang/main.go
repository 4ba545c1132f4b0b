// Command golang is a server made by Go: a goroutine a connection, which reads a file and answers; to * when all its threads
// have run.
//
//	golang [PORT]
package main

import (
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

func main() {
	port := "0"
	if len(os.Args) > 1 {
		port = os.Args[1]
	}
	l, err := net.Listen("tcp", "127.0.0.1:"+port)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("READY", l.Addr().(*net.TCPAddr).Port)
	for {
		c, err := l.Accept()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		go serve(c)
	}
}

func serve(c net.Conn) {
	defer c.Close()
	question := make([]byte, 64)
	if _, err := c.Read(question); err != nil {
		return
	}
	if question[0] == '*' {
		occupy()
	}
	if _, err := os.ReadFile("/proc/self/stat"); err != nil {
		fmt.Fprintln(c, err)
		return
	}
	fmt.Fprintln(c, "ok")
}

// occupy lets more goroutines wait in the kernel than there are threads, so that none stays parked.
func occupy() {
	var wg sync.WaitGroup
	for range 24 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			t := syscall.NsecToTimespec(int64(100 * time.Millisecond))
			syscall.Nanosleep(&t, nil)
		}()
	}
	wg.Wait()
}
