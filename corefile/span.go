package corefile

import (
	"bytes"
	"slices"
	"strings"

	"github.com/coredns/caddy/caddyfile"
)

// span is the lines from first to last of a text.
type span struct{ first, last int }

// Alone returns the text with the lines of all blocks but one left empty, so that the
// block can be tried by itself and errors name the right lines. It returns false where
// blocks share lines or come out of a snippet.
func (f *File) Alone(block int) (*Text, bool) {
	if f.span == nil {
		return nil, false
	}
	keep := append([]span{f.span[block]}, f.snip...)
	var out bytes.Buffer
	n := 0
	for line := range bytes.Lines(f.text.Body) {
		n++
		if !slices.ContainsFunc(keep, func(s span) bool { return s.first <= n && n <= s.last }) {
			line = []byte("\n")
		}
		out.Write(line)
	}
	alone := *f.text
	alone.Body = out.Bytes()
	return &alone, true
}

// spans finds the lines of each block and each snippet. It returns nil for the blocks
// where there are not as many as CoreDNS finds, or where two share a line.
func spans(name string, text []byte, want int) (blocks, snippets []span) {
	tokens := lex(name, text)
	last := 0
	for i := 0; i < len(tokens); {
		end := endOfBlock(tokens, i)
		s := span{tokens[i].Line, lastLine(tokens[end-1])}
		if s.first <= last || tokens[i].Text == "import" {
			return nil, nil
		}
		last = s.last
		if isSnippet(tokens[i].Text) {
			snippets = append(snippets, s)
		} else {
			blocks = append(blocks, s)
		}
		i = end
	}
	if len(blocks) != want {
		return nil, nil
	}
	return blocks, snippets
}

// endOfBlock returns the index after the } of the block that begins at a token. A block
// without braces goes on to the end of the file. The steps are those of caddyfile.parser.
func endOfBlock(tokens []caddyfile.Token, i int) int {
	if isSnippet(tokens[i].Text) {
		return endOfBraces(tokens, i+1)
	}
	i = endOfKeys(tokens, i)
	if i < len(tokens) && tokens[i].Text == "{" {
		i++
	}
	for i < len(tokens) {
		if tokens[i].Text == "}" {
			return i + 1
		}
		i = endOfDirective(tokens, i)
	}
	return i
}

// endOfKeys returns the index after a block's keys: they end with the line, unless a
// comma ends it, or before a brace.
func endOfKeys(tokens []caddyfile.Token, i int) int {
	for i < len(tokens) && tokens[i].Text != "{" {
		more := strings.HasSuffix(tokens[i].Text, ",")
		if i++; !more && i < len(tokens) && beginsLine(tokens, i) {
			break
		}
	}
	return i
}

// endOfDirective returns the index after a directive and its braces.
func endOfDirective(tokens []caddyfile.Token, i int) int {
	depth := 0
	for i++; i < len(tokens); i++ {
		switch {
		case tokens[i].Text == "{":
			depth++
		case depth == 0 && beginsLine(tokens, i):
			return i
		case tokens[i].Text == "}":
			depth--
		}
	}
	return i
}

// endOfBraces returns the index after the } that closes the { at a token.
func endOfBraces(tokens []caddyfile.Token, i int) int {
	depth := 0
	for ; i < len(tokens); i++ {
		switch tokens[i].Text {
		case "{":
			depth++
		case "}":
			depth--
		}
		if depth == 0 {
			return i + 1
		}
	}
	return i
}

// lex returns the tokens of a text, as CoreDNS's own lexer finds them.
func lex(name string, text []byte) []caddyfile.Token {
	var tokens []caddyfile.Token
	for d := caddyfile.NewDispenser(name, bytes.NewReader(text)); d.Next(); {
		tokens = append(tokens, caddyfile.Token{Line: d.Line(), Text: d.Val()})
	}
	return tokens
}

// lastLine returns the line on which a token ends: one in quotes may be of several.
func lastLine(t caddyfile.Token) int { return t.Line + strings.Count(t.Text, "\n") }
