// Command syspart closes, in a running server, every system call that its serving phase cannot need.
package main

import (
	"os"

	"syspart/internal/cli"
)

func main() { os.Exit(cli.Main(os.Args)) }
