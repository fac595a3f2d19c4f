package test

import (
	"go/ast"
	"net"
	"net/netip"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/nameroute/nameroute/test/netlab"
)

// pair is the two files of a gateway, as a page of docs/scenarios shows them.
type pair struct{ gateway, corefile string }

// pairsOf returns the files that a page shows, in its order.
func pairsOf(t testing.TB, page string) (all []pair) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../docs/scenarios", page))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range fences(page, string(text)) {
		switch f.language {
		case "yaml":
			all = append(all, pair{gateway: f.text})
		case "corefile":
			if len(all) == 0 || all[len(all)-1].corefile != "" {
				t.Fatalf("%s:%d: a Corefile without the gateway.yaml above it", page, f.line)
			}
			all[len(all)-1].corefile = f.text
		}
	}
	for _, p := range all {
		if p.corefile == "" {
			t.Fatalf("%s: a gateway.yaml without its Corefile", page)
		}
	}
	return all
}

// scenario makes a lab whose box has the files of a page, number n of it, as the page shows
// them. Only addresses are others: those of the page, each followed by the lab's.
func scenario(t testing.TB, o netlab.Options, page string, n int, addresses ...string) *gate {
	t.Helper()
	g := bareGate(t, o)
	p := pairsOf(t, page)[n]
	for i, a := range addresses {
		_, err := netip.ParseAddr(a)
		_, noMAC := net.ParseMAC(a)
		if err != nil && noMAC != nil {
			t.Fatalf("%s: %q is no address: nothing else of a page is replaced", page, a)
		}
		if i%2 == 0 && !strings.Contains(p.gateway+p.corefile, a) {
			t.Fatalf("%s has no %s", page, a)
		}
	}
	lab := strings.NewReplacer(addresses...)
	g.Box.Write("gateway.yaml", lab.Replace(p.gateway))
	g.Box.Write("Corefile", lab.Replace(p.corefile))
	return g
}

var rowOfScenario = regexp.MustCompile(`(?m)^\| \[[^]]+\]\(docs/scenarios/([a-z-]+\.md)\) \| .+ \|$`)

// Every scenario has a line in the README's table, shows both files, says what the far side
// sees, its pitfalls and where to look, and names the test that boots it.
func TestScenarioPages(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	for _, row := range rowOfScenario.FindAllStringSubmatch(string(readme), -1) {
		listed[row[1]] = true
	}
	pages, err := filepath.Glob("../docs/scenarios/*.md")
	if err != nil || len(pages) != len(listed) {
		t.Errorf("%d pages, %d rows in README.md, %v", len(pages), len(listed), err)
	}
	tests := map[string]bool{}
	for _, s := range sources(t) {
		if s.test && s.dir == "test" {
			for _, d := range s.file.Decls {
				if f, ok := d.(*ast.FuncDecl); ok {
					tests[f.Name.Name] = true
				}
			}
		}
	}
	for _, p := range pages {
		page := path.Base(p)
		text, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		if !listed[page] {
			t.Errorf("README.md has no row of %s", page)
		}
		if len(pairsOf(t, page)) == 0 {
			t.Errorf("%s shows no files", page)
		}
		for _, heading := range []string{"## What the far side sees", "## Pitfalls", "## When it does not work"} {
			if !strings.Contains(string(text), "\n"+heading+"\n") {
				t.Errorf("%s: no %q", page, heading)
			}
		}
		named := regexp.MustCompile("`(TestScenario[A-Za-z]+)`").FindAllStringSubmatch(string(text), -1)
		if len(named) != len(pairsOf(t, page)) || slices.ContainsFunc(named, func(n []string) bool { return !tests[n[1]] }) {
			t.Errorf("%s: want the test that boots each of its pairs of files, have %q", page, named)
		}
	}
}

// wantWarnings wants `nameroute check` to find nothing wrong with the scenario but pitfalls of
// its page: a warning with each of these texts, and no other. What it says of the machine that
// the test runs on does not count.
func (g *gate) wantWarnings(pitfalls ...string) {
	g.t.Helper()
	ofAny, _ := g.Box.Exec(binary, "check", "--config", g.write("any.yaml", "lan: [lo]\n"), "--corefile", g.write("any", ". {\n    upstream wan\n}\n"), "--state", g.Box.State())
	out, err := g.Box.Exec(slices.Concat([]string{binary, "check"}, g.Box.Flags())...)
	if err != nil {
		g.t.Errorf("check: %v", err)
	}
	for line := range strings.Lines(out) {
		expected := append([]string{"nsswitch.conf", "nscd runs"}, pitfalls...)
		if strings.HasPrefix(line, "warning") && !strings.Contains(ofAny, line) && !slices.ContainsFunc(expected, func(e string) bool { return strings.Contains(line, e) }) {
			g.t.Errorf("a warning of what is right: %s", line)
		}
	}
	for _, p := range pitfalls {
		if !strings.Contains(out, p) {
			g.t.Errorf("check does not warn of %q:\n%s", p, out)
		}
	}
}

// write writes a file beside the lab's, and returns its path.
func (g *gate) write(name, text string) string {
	g.t.Helper()
	file := filepath.Join(g.t.TempDir(), name)
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		g.t.Fatal(err)
	}
	return file
}
