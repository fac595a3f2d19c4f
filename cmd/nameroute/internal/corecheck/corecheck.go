// Package corecheck checks a Corefile against a gateway.yaml, as a start would, without
// starting anything.
package corecheck

import (
	"fmt"
	"slices"
	"strings"

	"github.com/coredns/caddy"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/coredns"
	"github.com/nameroute/nameroute/corefile"
	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/firewall"
	"github.com/nameroute/nameroute/gateway/pkg/problem"
	"github.com/nameroute/nameroute/plugin/pkg/instance"
)

// Check runs the setup of every directive with a configuration, without starting
// anything, and returns what is wrong, with its place in the files that the user wrote.
// CoreDNS stops at the first error, so the blocks are then set up one by one, and the first
// wrong argument of each is returned, or all directives that do not exist and all files that
// cannot be read. Without a configuration nothing is said about the routes and lists that
// the blocks name.
func Check(t *corefile.Text, cfg *gateway.Config) []error {
	f, err := t.Parse()
	switch {
	case err != nil:
		return []error{explainBraces(err)}
	case len(f.Blocks) == 0:
		// CoreDNS would serve its default instead, which answers every name itself.
		return []error{fmt.Errorf("%s: no server block: want at least one, as in `. { ... }`", f.Name)}
	}
	problems := checkBlocks(t, f, cfg)
	if _, err := instance.CheckBlocks(f); err != nil {
		problems = append(problems, fmt.Errorf("%s: %w", f.Name, err))
	}
	if cfg != nil {
		problems = append(problems, instance.CheckPrograms(f, cfg)...)
	}
	_, fetching := instance.CheckFetching(f)
	return slices.Concat(problems, fetching, instance.CheckCached(f))
}

// Notes returns what is allowed in a Corefile and may not be wanted: names that are
// queried past their route.
func Notes(f *corefile.File) []string {
	hidden, _ := instance.CheckBlocks(f) // its errors are Check's
	past, _ := instance.CheckFetching(f)
	return append(hidden, past...)
}

// explainBraces adds what is missing to CoreDNS's error about an unclosed block, which
// names a line of the next one.
func explainBraces(err error) error {
	if strings.Contains(err.Error(), " - Syntax error: ") && strings.HasSuffix(err.Error(), "expecting '}'") {
		return fmt.Errorf("%w: a block before it is not closed: want a line with } for each {", err)
	}
	return err
}

// checkBlocks sets up all blocks at once, and where that fails each block alone. What the
// blocks name must be in the configuration.
func checkBlocks(t *corefile.Text, f *corefile.File, cfg *gateway.Config) []error {
	var all error
	if !slices.ContainsFunc(f.Blocks, func(b corefile.Block) bool { return len(unreadable(b)) > 0 }) {
		all = setUp(t)
	}
	var problems []error
	add := func(err error) {
		// Blocks that import one snippet have its problem in common.
		if err != nil && !slices.ContainsFunc(problems, func(p error) bool { return p.Error() == err.Error() }) {
			problems = append(problems, err)
		}
	}
	found := false // what is wrong with all
	for i, b := range f.Blocks {
		errs := append(unknownDirectives(b), unreadable(b)...)
		if alone, ok := f.Alone(i); len(errs) == 0 && all != nil && ok {
			if err := setUp(alone); err != nil {
				errs = append(errs, err)
			}
		}
		found = found || len(errs) > 0
		if cfg != nil {
			errs = append(errs, instance.CheckNames(b, cfg)...)
		}
		for _, err := range errs {
			add(err)
		}
	}
	if !found {
		add(all) // it is in how the blocks relate
	}
	return problems
}

// setUp runs the setups of a text's directives.
func setUp(t *corefile.Text) error {
	in := caddy.CaddyfileInput{Contents: t.Body, Filepath: t.Name(), ServerTypeName: "dns"}
	return t.Explain(coredns.Try(in))
}

// unknownDirectives returns an error for each directive of a block that does not exist,
// with the one that was probably meant.
func unknownDirectives(b corefile.Block) (errs []error) {
	// Of equally similar ones nameroute's own is meant: rout is route, not root.
	all := append([]string{"clients", "listed", "route", "upstream"}, corefile.Directives()...)
	for _, d := range b.Directives {
		if slices.Contains(all, d.Name) {
			continue
		}
		if n := problem.Nearest(d.Name, all); n != "" {
			errs = append(errs, d.Errorf("Unknown directive '%s': did you mean %s?", d.Name, n))
		} else {
			errs = append(errs, d.Errorf("Unknown directive '%s'", d.Name))
		}
	}
	return errs
}

// Describe returns a line about each server block.
func Describe(f *corefile.File) []string {
	var lines []string
	for _, b := range f.Blocks {
		words := []string{strings.Join(b.Keys, " ")}
		for _, name := range []string{"clients", "listed", "route", "upstream", "forward"} {
			if i := slices.IndexFunc(b.Directives, func(d corefile.Directive) bool { return d.Name == name }); i >= 0 {
				words = append(words, b.Directives[i].String())
			}
		}
		lines = append(lines, strings.Join(words, ", "))
	}
	return lines
}

// Listeners returns the addresses and ports that a Corefile listens on.
func Listeners(in caddy.Input) ([]firewall.Listener, error) {
	f, err := corefile.Parse(in.Path(), in.Body())
	if err != nil {
		return nil, err
	}
	return instance.Listeners(f), nil
}
