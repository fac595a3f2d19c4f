//go:build man

package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra/doc"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/exit"
)

// With the tag `man` the program is another one: it writes a manual page for each
// command to a directory, so that the real one need not carry what makes them.
// `make man` runs it.
func init() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "want one argument, the directory for the manual pages")
		os.Exit(exit.Usage)
	}
	if err := writeManual(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "manual pages:", err)
		os.Exit(exit.Failure)
	}
	os.Exit(exit.OK)
}

func writeManual(dir string) error {
	root := rootCommand()
	root.DisableAutoGenTag = true // no date but that of the source
	root.InitDefaultCompletionCmd()
	// A table to roff, which would run its lines together otherwise.
	root.Long += "\n\n" + strings.ReplaceAll(exit.Help, "\n  ", "\n    ")
	header := &doc.GenManHeader{Title: "NAMEROUTE", Section: "8", Source: "nameroute " + version, Manual: "System administration"}
	if at, err := strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64); err == nil {
		date := time.Unix(at, 0).UTC()
		header.Date = &date
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return doc.GenManTree(root, header, dir)
}
