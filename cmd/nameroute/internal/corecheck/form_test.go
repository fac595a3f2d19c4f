package corecheck

import (
	"testing"

	"github.com/coredns/caddy"

	"github.com/nameroute/nameroute/corefile/plugins"
)

// Braces that do not fit are one problem, and not one for each line before them.
func TestBracesAreOneProblem(t *testing.T) {
	if err := plugins.Register(); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		". {\n    cache\n": "Corefile:2 - Syntax error: Unexpected token 'cache', expecting '}': a block before it is not closed: want a line with } for each {",
		". {\n    cache {\n        prefetch 1\n}\n. {\n    whoami\n}\n": "Corefile:5 - Error during parsing: Unknown directive '.'",
	} {
		problems := Check(caddy.CaddyfileInput{Contents: []byte(text), Filepath: "Corefile", ServerTypeName: "dns"}, nil)
		if len(problems) != 1 || problems[0].Error() != want {
			t.Errorf("%q: %q, want %q", text, problems, want)
		}
	}
}
