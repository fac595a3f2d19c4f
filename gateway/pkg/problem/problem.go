// Package problem describes errors in files that users write: where they are, what is
// wrong and what is wanted.
package problem

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Problem is one error in a file that a user wrote.
type Problem struct {
	File   string
	Line   int    // from 1; 0 where it is not known
	Column int    // from 1, in bytes; 0 where it is not known
	Key    string // dotted path of the key: routes.vpn.on_down; "" for the whole file
	Value  string // as the file has it; "" where the key itself is the problem
	Why    string // what is wrong
	Want   string // what is wanted instead, or ""
}

// Error prints the problem on one line:
//
//	gateway.yaml:12:5: routes.vpn.on_dwon: unknown key: did you mean on_down?
func (p Problem) Error() string {
	parts := []string{p.place()}
	for _, part := range []string{p.Key, p.Value} {
		if part != "" {
			parts = append(parts, printable(part))
		}
	}
	parts = append(parts, p.Why)
	if p.Want != "" {
		parts = append(parts, p.Want)
	}
	return strings.Join(parts, ": ")
}

func (p Problem) place() string {
	switch {
	case p.Line == 0:
		return p.File
	case p.Column == 0:
		return fmt.Sprintf("%s:%d", p.File, p.Line)
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

// Problems are all errors in one file, in the order of the file. They are an error value
// themselves, unless there are none.
type Problems []Problem

// Error prints one problem per line.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns the problems for errors.As.
func (ps Problems) Unwrap() []error {
	errs := make([]error, len(ps))
	for i, p := range ps {
		errs[i] = p
	}
	return errs
}

// Sort sorts the problems by their position in the file, and keeps the order of those at
// the same position.
func (ps Problems) Sort() {
	slices.SortStableFunc(ps, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
}

// printable returns a value from the file on one line: it cuts long ones, and quotes those
// that a terminal would not show as they are.
func printable(s string) string {
	const limit = 80
	if len(s) > limit {
		cut := limit
		for cut > 0 && !utf8.RuneStart(s[cut]) {
			cut--
		}
		s = s[:cut] + "..."
	}
	for _, r := range s {
		if !unicode.IsPrint(r) || r == ' ' || r == utf8.RuneError {
			return strconv.Quote(s)
		}
	}
	return s
}

// Position is a place in a file.
type Position struct {
	Line   int // from 1; 0 where it is not known
	Column int // from 1, in bytes; 0 where it is not known
}

// Positions maps the dotted path of every key that has a value to the position of
// that value.
type Positions map[string]Position

// Find returns the position of a key. A key that the file leaves out has that of the
// nearest key above it.
func (ps Positions) Find(key string) Position {
	for {
		if at, ok := ps[key]; ok || key == "" {
			return at
		}
		key = key[:max(0, strings.LastIndexByte(key, '.'))]
	}
}

// Has reports whether the file has the key, with a value.
func (ps Positions) Has(key string) bool {
	_, ok := ps[key]
	return ok
}
