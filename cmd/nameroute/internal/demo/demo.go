// Package demo shows nameroute at work between network namespaces of this machine.
package demo

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/exit"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/privilege"
	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/lists"
	"github.com/nameroute/nameroute/test/netlab"
)

// Run shows the demo, with a list of the user's or, where list is "", a small one of
// its own.
func Run(out *os.File, list string) error {
	if !netlab.Inside() {
		return runInNamespaces()
	}
	d, err := newDemo(out, list)
	if err != nil {
		return err
	}
	return d.show()
}

// runInNamespaces runs the demo again in namespaces of its own.
func runInNamespaces() error {
	if err := privilege.Need(); err != nil {
		return err
	}
	code, err := netlab.Reexec()
	if err != nil {
		return exit.With(exit.Denied, fmt.Errorf("make network namespaces: %w: run it as root", err))
	}
	if code != exit.OK {
		return &exit.Error{Code: code}
	}
	return nil
}

// names are those that the demo queries.
type names struct {
	file   string   // the list's; "" for the one that is built in
	format string   // what it was read as
	count  int      // its entries
	listed []string // names on it
	other  string   // a name that is not
}

// demoNames takes names from the list that is to be shown.
func demoNames(file, dir string) (names, error) {
	n := names{file: file, other: "not-on-any-list.example"}
	if file == "" {
		n.file = filepath.Join(dir, "demo.txt")
		if err := os.WriteFile(n.file, lists.Demo, 0o600); err != nil {
			return n, err
		}
	}
	var err error
	if n.file, err = filepath.Abs(n.file); err != nil {
		return n, err
	}
	l := gateway.List{Name: "demo", File: n.file}
	rep, err := lists.Check(l)
	if err != nil {
		return n, exit.With(exit.List, err)
	}
	n.format, n.count = rep.Format, rep.Entries()
	if n.listed, err = lists.SampleNames(l, 3); err != nil {
		return n, exit.With(exit.List, err)
	}
	if len(n.listed) == 0 {
		return n, exit.With(exit.List, errors.New(n.file+": the list has no name that could be asked for"))
	}
	return n, nil
}
