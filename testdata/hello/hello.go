// A listener and a file; fixture of eval/anybin.sh.
package main

import (
	"fmt"
	"net"
	"os"
)

func main() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	text, _ := os.ReadFile("/proc/self/comm")
	fmt.Print(string(text), l.Addr().Network(), "\n")
	l.Close()
}
