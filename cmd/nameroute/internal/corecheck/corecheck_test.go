package corecheck

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nameroute/nameroute/corefile"
	"github.com/nameroute/nameroute/corefile/plugins"
	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/config"
)

func TestMain(m *testing.M) {
	if err := plugins.Register(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func parsed(t *testing.T, yaml string) *gateway.Config {
	t.Helper()
	cfg, err := config.Parse(gateway.DefaultFile, []byte(yaml))
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// problems returns what Check says about a Corefile.
func problems(t *testing.T, name, text string, cfg *gateway.Config) []string {
	t.Helper()
	x, err := corefile.Expand(name, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, err := range Check(x, cfg) {
		all = append(all, err.Error())
	}
	return all
}

// CoreDNS serves its default for a Corefile without a block.
func TestCorefileWithoutBlocksIsRefused(t *testing.T) {
	cfg := parsed(t, "")
	for _, text := range []string{"", "\n", "# only a comment\n", " \t"} {
		for _, c := range []*gateway.Config{cfg, nil} {
			got := problems(t, "Corefile", text, c)
			if len(got) != 1 || !strings.HasPrefix(got[0], "Corefile: no server block: want") {
				t.Errorf("%q: %v", text, got)
			}
		}
	}
	if got := problems(t, "Corefile", ".:5353 {\n upstream wan 192.0.2.53\n}\n", cfg); len(got) > 0 {
		t.Errorf("a valid one: %v", got)
	}
}

// Braces that do not match are one problem, not one for each line before them.
func TestBracesAreOneProblem(t *testing.T) {
	for text, want := range map[string]string{
		". {\n    cache\n":       "Corefile:2 - Syntax error: Unexpected token 'cache', expecting '}': a block before it is not closed: want a line with } for each {",
		". {\n    cache\n}\n}\n": "Corefile:4 - Syntax error: Unexpected token '}': no block is open: want a line with } for each {",
		". {\n    cache {\n        prefetch 1\n}\n. {\n    whoami\n}\n": "Corefile:5 - Error during parsing: Unknown directive '.'",
	} {
		if got := problems(t, "Corefile", text, nil); !slices.Equal(got, []string{want}) {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// CoreDNS stops at the first error; each block has its own reported.
func TestEachBlockHasItsProblem(t *testing.T) {
	text := `(up) {
    upstream wna 192.0.2.1
}
a.example {
    listed mien
    route vpm
}
b.example {
    cahce
    upstream wan
}
c.example {
    import up
}
d.example {
    import up
}
e.example {
    upstream wan 192.0.2.1
}
`
	cfg := parsed(t, "routes:\n  vpn: {interface: tun0}\nlists:\n  mine: {file: mine.txt}\n")
	want := []string{
		`plugin/listed: Corefile:5 - Error during parsing: unknown list "mien": did you mean "mine"? (/etc/nameroute/gateway.yaml has: mine)`,
		"Corefile:9 - Error during parsing: Unknown directive 'cahce': did you mean cache?",
		`plugin/upstream: Corefile:2 - Error during parsing: unknown route "wna": did you mean "wan"? (/etc/nameroute/gateway.yaml has: wan, vpn)`,
		"Corefile: zone a.example. on dns://*:53: names on no list would be refused: add a last block without listed on this listener",
	}
	if got := problems(t, "Corefile", text, cfg); !slices.Equal(got, want) {
		t.Errorf("got  %s\nwant %s", strings.Join(got, "\n     "), strings.Join(want, "\n     "))
	}
}

func TestProblemsNameTheImportedFile(t *testing.T) {
	dir := t.TempDir()
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "one"), []byte("# a block\na.example {\n    upstream wan 192.0.2.1\n    whoamy\n}\n"), 0o600),
		os.WriteFile(filepath.Join(dir, "two"), []byte("\nupstream wan 192.0.2.256\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	got := problems(t, filepath.Join(dir, "Corefile"), "import one\n. {\n    import two\n}\n", parsed(t, ""))
	want := []string{"one:4 - Error during parsing: Unknown directive 'whoamy': did you mean whoami?", "two:2 - Error during parsing: address 192.0.2.256: not an IP address"}
	if len(got) != 2 || !strings.Contains(got[0], want[0]) || !strings.Contains(got[1], want[1]) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestDescribeNamesWhatABlockDoes(t *testing.T) {
	f, err := corefile.Parse("Corefile", []byte(". tls://. {\n listed a b {\n  config x\n }\n route vpn\n cache\n upstream vpn 192.0.2.1\n}\nlan {\n forward . 192.0.2.2\n}\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{". tls://., listed a b, route vpn, upstream vpn 192.0.2.1", "lan, forward . 192.0.2.2"}
	if got := Describe(f); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
