//go:build man

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/cpuguy83/go-md2man/v2/md2man"
	"github.com/spf13/cobra/doc"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/exit"
)

// With the tag `man` the program is another one: it writes a manual page for each
// command, for gateway.yaml and for each plugin to a directory, so that the real one need
// not carry what makes them. `make man` runs it in the root of the repository.
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
	if err := doc.GenManTree(root, header, dir); err != nil {
		return err
	}
	return writePages(dir, header.Date)
}

// writePages writes the pages that are Markdown: gateway.yaml(5), and one of section 7 for
// each plugin.
func writePages(dir string, date *time.Time) error {
	pages := map[string]string{"gateway.yaml.5": "docs/gateway.yaml.md"}
	readmes, err := filepath.Glob("plugin/*/README.md")
	if err != nil {
		return err
	}
	for _, r := range readmes {
		pages["nameroute-"+filepath.Base(filepath.Dir(r))+".7"] = r
	}
	for page, from := range pages {
		text, err := os.ReadFile(from)
		if err != nil {
			return err
		}
		roff := md2man.Render([]byte(manualSource(page, string(text), date)))
		if err := os.WriteFile(filepath.Join(dir, page), roff, 0o644); err != nil {
			return err
		}
	}
	return nil
}

var (
	heading   = regexp.MustCompile(`(?m)^## .*$`)
	nameLine  = regexp.MustCompile(`(?m)^(## NAME\n\n)\*?[^*\n]+?\*? - `)
	localLink = regexp.MustCompile(`\[([^\]]+)\]\([^):]*\)`)
)

// manualSource turns a page for the web into one that md2man renders: with a header in
// place of its title, the page's name where man(1) looks for it, and no links into the
// repository.
func manualSource(page, text string, date *time.Time) string {
	name, section := strings.TrimSuffix(page, filepath.Ext(page)), strings.TrimPrefix(filepath.Ext(page), ".")
	manual := map[string]string{"5": "File formats", "7": "Corefile plugins"}[section]
	day := ""
	if date != nil {
		day = date.Format("Jan 2006")
	}
	_, body, _ := strings.Cut(text, "\n")
	body = heading.ReplaceAllStringFunc(body, strings.ToUpper)
	body = nameLine.ReplaceAllString(body, "${1}"+name+" - ")
	body = localLink.ReplaceAllString(body, "$1")
	return fmt.Sprintf("%q %q %q %q %q\n===\n%s", strings.ToUpper(name), section, day, "nameroute "+version, manual, body)
}
