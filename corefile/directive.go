package corefile

import (
	"cmp"
	"slices"
	"strings"

	"github.com/coredns/caddy/caddyfile"
)

// Directive is one directive of a block.
type Directive struct {
	Position
	Name       string
	Args       []string
	Properties []Property // the lines between its braces
}

// Property is a line of a directive's own block. What stands between braces within it
// is left out.
type Property struct {
	Name string
	Args []string
}

// String returns the directive as its first line has it: listed gfw mine.
func (d Directive) String() string {
	return strings.Join(append([]string{d.Name}, d.Args...), " ")
}

// property returns the first argument of a property, "" without.
func (d *Directive) property(name string) string {
	for _, p := range d.Properties {
		if p.Name == name && len(p.Args) > 0 {
			return p.Args[0]
		}
	}
	return ""
}

// directives takes the tokens of a block apart. CoreDNS hands a plugin all tokens of its
// directive at once, so one that is written twice is found by its line.
func directives(file string, byName map[string][]caddyfile.Token) []Directive {
	var all []Directive
	for name, tokens := range byName {
		depth := 0
		for i, t := range tokens {
			last := len(all) - 1
			switch {
			case i == 0 || depth == 0 && t.Text != "{" && t.Text != "}" && beginsLine(tokens, i):
				at := Position{cmp.Or(t.File, file), t.Line}
				all = append(all, Directive{Position: at, Name: name})
			case t.Text == "{":
				depth++
			case t.Text == "}":
				depth--
			case depth == 0:
				all[last].Args = append(all[last].Args, t.Text)
			case depth == 1 && (beginsLine(tokens, i) || tokens[i-1].Text == "{"):
				all[last].Properties = append(all[last].Properties, Property{Name: t.Text})
			case depth == 1 && len(all[last].Properties) > 0:
				p := &all[last].Properties[len(all[last].Properties)-1]
				p.Args = append(p.Args, t.Text)
			}
		}
	}
	slices.SortStableFunc(all, func(a, b Directive) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Name, b.Name))
	})
	return all
}

// beginsLine reports whether a token is the first of its line.
func beginsLine(tokens []caddyfile.Token, i int) bool {
	if i == 0 {
		return true
	}
	before := tokens[i-1]
	return before.File != tokens[i].File || lastLine(before) < tokens[i].Line
}
