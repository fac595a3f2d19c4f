package test

import (
	"go/ast"
	"go/token"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

var (
	// quoted is what a page quotes in a cell of a table, with what it says of whose line it is.
	quoted = regexp.MustCompile("(systemd's |the kernel's )?`([^`]+)`")
	// variable is the part of a quoted line that differs: placeholders, attributes, the part of
	// the program that a line begins with.
	variable = regexp.MustCompile(`\.\.\.|\b[A-Z]{4,}\b|\b[a-z_0-9]+=("[^"]*"?|\S*)|^(plugin/[a-z]+|nameroute|sidecar|dataplane|updater|resolver|lists): |"|\bN\b`)
	// elsewhere are lines of CoreDNS, and names of metrics, which are put together.
	elsewhere = regexp.MustCompile(`^(Reloading complete|coredns_[a-z_]+)$`)
)

// The log lines that docs/operator.md quotes exist in the code: an operator searches for them.
func TestQuotedMessages(t *testing.T) {
	page, err := os.ReadFile("../docs/operator.md")
	if err != nil {
		t.Fatal(err)
	}
	literals := messages(t)
	checked, column := 0, -1
	for i, line := range strings.Split(string(page), "\n") {
		cells := strings.Split(strings.Trim(line, "|"), "|")
		if len(cells) < 3 {
			column = -1
			continue
		}
		for n, c := range cells {
			if strings.TrimSpace(c) == "what the log says" {
				column = n
			}
		}
		if column < 0 || column >= len(cells) {
			continue
		}
		for _, m := range quoted.FindAllStringSubmatch(cells[column], -1) {
			if m[1] != "" || elsewhere.MatchString(m[2]) {
				continue
			}
			for _, part := range variable.Split(m[2], -1) {
				part = strings.Trim(part, " :;,()")
				if len(part) < 6 {
					continue
				}
				checked++
				if !strings.Contains(literals, part) {
					t.Errorf("docs/operator.md:%d: %q of %q is in no message of the program", i+1, part, m[2])
				}
			}
		}
	}
	if checked < 30 {
		t.Errorf("only %d parts of messages were found: that proves nothing", checked)
	}
}

// messages are all strings of the program's code, a line each; those that are put together
// by + are one.
func messages(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	for _, s := range sources(t) {
		if s.test || strings.HasPrefix(s.dir, "test") {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			if text, ok := literal(n); ok {
				all.WriteString(text + "\n")
				return false
			}
			return true
		})
	}
	return all.String()
}

// literal is the text of a string literal, or of several that are added.
func literal(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.BasicLit:
		text, err := strconv.Unquote(n.Value)
		return text, err == nil && n.Kind == token.STRING
	case *ast.BinaryExpr:
		left, ok := literal(n.X)
		right, ok2 := literal(n.Y)
		return left + right, ok && ok2 && n.Op == token.ADD
	}
	return "", false
}
