// Package corecheck checks a Corefile against a gateway.yaml, as a start would, without
// starting anything.
package corecheck

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/coredns/caddy"
	"github.com/coredns/caddy/caddyfile"

	"github.com/nameroute/nameroute/corefile"
	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/nft"
	"github.com/nameroute/nameroute/gateway/pkg/problem"
	"github.com/nameroute/nameroute/plugin/dnshalf"
)

// maxCorefileProblems bounds how many directives are tried one after another.
const maxCorefileProblems = 20

// Check runs every directive's setup against a configuration, without
// starting anything, and returns all that is wrong. CoreDNS stops at the first wrong
// directive; it is left out then and the rest is tried again. Without a configuration
// only the form is looked at.
func Check(in caddy.Input, cfg *gateway.Config) []error {
	look := func(text string) error {
		blocks, err := parseBlocks(in.Path(), text)
		if err != nil {
			return suggest(err)
		}
		if cfg == nil {
			_, err = dnshalf.CheckBlocks(blocks)
			return err
		}
		return setUp(in.Path(), text)
	}
	if cfg != nil {
		defer dnshalf.UseConfig(cfg)()
	}
	var problems []error
	text := string(in.Body())
	for len(problems) < maxCorefileProblems {
		err := look(text)
		if err == nil {
			return append(problems, checkWhole(in, cfg)...)
		}
		problems = append(problems, err)
		if badForm(err) {
			return problems
		}
		shorter := withoutDirective(text, in.Path(), err)
		if shorter == text {
			return problems
		}
		text = shorter
	}
	return append(problems, errors.New("and more: the rest was not looked at"))
}

// parseBlocks refuses a Corefile without any block, such as one that is just being
// written: CoreDNS would serve its default instead, which answers every name itself.
func parseBlocks(file, text string) ([]caddyfile.ServerBlock, error) {
	blocks, err := caddyfile.Parse(file, strings.NewReader(text), corefile.Directives())
	if err == nil && len(blocks) == 0 {
		err = fmt.Errorf("%s: no server block: want at least one, as in `. { ... }`", file)
	}
	return blocks, err
}

func setUp(file, text string) error {
	return caddy.ValidateAndExecuteDirectives(caddy.CaddyfileInput{Contents: []byte(text), Filepath: file, ServerTypeName: "dns"}, nil, true)
}

// checkWhole looks at how the blocks stand to each other, of the whole text.
func checkWhole(in caddy.Input, cfg *gateway.Config) []error {
	blocks, err := caddyfile.Parse(in.Path(), bytes.NewReader(in.Body()), nil)
	if err == nil && cfg != nil {
		_, err = dnshalf.CheckBlocks(blocks)
	}
	if err != nil {
		return []error{fmt.Errorf("%s: %w", in.Path(), err)}
	}
	return nil
}

// unknownDirective finds the word that CoreDNS does not know.
var unknownDirective = regexp.MustCompile(`Unknown directive '([^']*)'`)

// badForm tells whether the braces are wrong. Which words are directives is not known
// then, and leaving one out only moves the error.
func badForm(err error) bool { return strings.Contains(err.Error(), " - Syntax error: ") }

// suggest adds what was probably meant.
func suggest(err error) error {
	if badForm(err) && strings.HasSuffix(err.Error(), "expecting '}'") {
		return fmt.Errorf("%w: a block before it is not closed: want a line with } for each {", err)
	}
	m := unknownDirective.FindStringSubmatch(err.Error())
	if m == nil {
		return err
	}
	if n := problem.Nearest(m[1], corefile.Directives()); n != "" {
		return fmt.Errorf("%w: did you mean %s?", err, n)
	}
	return err
}

// where finds the line of an error in `FILE:LINE - Error during parsing: ...`.
var where = regexp.MustCompile(`([^\s:]+):(\d+) - `)

// withoutDirective blanks the directive that an error points at, with its block, and
// keeps the line numbers of the rest. Where the error names no line of this file, the
// text comes back unchanged.
func withoutDirective(text, file string, err error) string {
	m := where.FindStringSubmatch(err.Error())
	if m == nil || !strings.HasSuffix(file, m[1]) {
		return text
	}
	n, convErr := strconv.Atoi(m[2])
	lines := strings.Split(text, "\n")
	if convErr != nil || n < 1 || n > len(lines) {
		return text
	}
	first := directiveStart(lines, n-1)
	depth := 0
	for i := first; i < len(lines); i++ {
		code, _, _ := strings.Cut(lines[i], "#")
		depth += strings.Count(code, "{") - strings.Count(code, "}")
		if depth < 0 {
			return text // the block's own end: nothing was opened here
		}
		lines[i] = ""
		if depth == 0 && i >= n-1 {
			break
		}
	}
	return strings.Join(lines, "\n")
}

// directiveStart walks up from a line inside a directive's braces to its first line.
func directiveStart(lines []string, at int) int {
	depth := 0
	for i := range lines[:at] {
		code, _, _ := strings.Cut(lines[i], "#")
		depth += strings.Count(code, "{") - strings.Count(code, "}")
	}
	for at > 0 && depth > 1 {
		at--
		code, _, _ := strings.Cut(lines[at], "#")
		depth -= strings.Count(code, "{") - strings.Count(code, "}")
	}
	return at
}

// Describe returns a line for each server block.
func Describe(in caddy.Input) ([]string, error) {
	blocks, err := caddyfile.Parse(in.Path(), bytes.NewReader(in.Body()), corefile.Directives())
	if err != nil {
		return nil, err
	}
	var lines []string
	for _, b := range blocks {
		words := []string{strings.Join(b.Keys, " ")}
		for _, d := range []string{"listed", "route", "upstream", "forward"} {
			if t, ok := b.Tokens[d]; ok {
				words = append(words, firstLine(t))
			}
		}
		lines = append(lines, strings.Join(words, ", "))
	}
	return lines, nil
}

func firstLine(tokens []caddyfile.Token) string {
	var words []string
	for _, t := range tokens {
		if t.Line != tokens[0].Line || t.Text == "{" {
			break
		}
		words = append(words, t.Text)
	}
	return strings.Join(words, " ")
}

// Listeners returns the addresses and ports that a Corefile asks for.
func Listeners(in caddy.Input) ([]nft.Listener, error) {
	blocks, err := caddyfile.Parse(in.Path(), bytes.NewReader(in.Body()), nil)
	if err != nil {
		return nil, err
	}
	return dnshalf.Listeners(blocks)
}

// Explain has each problem name the place where it was written, imports included.
func Explain(t *corefile.Text, problems []error) error {
	var errs []error
	for _, p := range problems {
		errs = append(errs, t.Explain(p))
	}
	return errors.Join(errs...)
}
