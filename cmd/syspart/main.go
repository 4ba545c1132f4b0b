// Command syspart closes, in a running server, every system call that its serving phase cannot need.
package main

import (
	"os"
	"runtime"

	"syspart/internal/cli"
)

// run executes the server in our place. From another thread than the first one, the kernel would show the process as a zombie
// until the two have changed places.
func init() { runtime.LockOSThread() }

func main() { os.Exit(cli.Main(os.Args)) }
