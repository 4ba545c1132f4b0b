// Command gen writes the manual pages of syspart into a directory, and removes those of verbs that are no more.
//
//	gen -o DIR
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"syspart/internal/cli"
)

func main() {
	dir := flag.String("o", "", "`directory` of the pages")
	flag.Parse()
	if err := write(*dir); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func write(dir string) error {
	pages := cli.Man()
	old, err := filepath.Glob(filepath.Join(dir, "*.1"))
	if err != nil {
		return err
	}
	for _, path := range old {
		if pages[filepath.Base(path)] == nil {
			if err := os.Remove(path); err != nil {
				return err
			}
		}
	}
	for name, text := range pages {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			return err
		}
	}
	return nil
}
