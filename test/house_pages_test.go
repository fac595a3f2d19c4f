package test

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/coredns/caddy/caddyfile"

	"github.com/nameroute/nameroute/gateway/config"
)

// Every plugin explains itself as CoreDNS's do, so that its page fits beside theirs.
func TestPluginReadmes(t *testing.T) {
	folders := map[string]bool{}
	metrics := map[string]bool{}
	for _, s := range sources(t) {
		if ok, _ := path.Match("plugin/*", s.dir); ok && !s.test {
			folders[s.dir] = true
			metrics[s.dir] = metrics[s.dir] || path.Base(s.path) == "metrics.go"
		}
	}
	for dir := range folders {
		text, err := os.ReadFile(filepath.Join("..", dir, "README.md"))
		if err != nil {
			t.Errorf("%s: %v", dir, err)
			continue
		}
		name := path.Base(dir)
		wanted := []string{"# " + name, "## Name", "*" + name + "* - ", "## Description", "## Syntax", "## Examples"}
		if metrics[dir] {
			wanted = append(wanted, "## Metrics")
		}
		for _, want := range wanted {
			if !slices.ContainsFunc(strings.Split(string(text), "\n"), func(l string) bool {
				return l == want || strings.HasSuffix(want, " - ") && strings.HasPrefix(l, want)
			}) {
				t.Errorf("%s/README.md: no line %q", dir, want)
			}
		}
	}
}

// fence is one block of code in a page.
type fence struct {
	page, language, text string
	line                 int
}

var fenceLine = regexp.MustCompile("^(```|~~~)[ ]*([A-Za-z]*)")

func fences(page, text string) []fence {
	var all []fence
	var open *fence
	var mark string
	for i, line := range strings.Split(text, "\n") {
		m := fenceLine.FindStringSubmatch(line)
		switch {
		case open == nil && m != nil:
			mark, open = m[1], &fence{page: page, language: strings.ToLower(m[2]), line: i + 1}
		case open != nil && strings.TrimRight(line, " ") == mark:
			all, open = append(all, *open), nil
		case open != nil:
			open.text += line + "\n"
		}
	}
	if open != nil {
		all = append(all, fence{page: page, language: "unclosed", line: open.line})
	}
	return all
}

// What the pages show can be copied: a `yaml` block is a gateway.yaml (other YAML
// is `yml`), a `corefile` block is a Corefile. The corefile package boots the latter.
func TestPagesParse(t *testing.T) {
	for _, page := range files(t) {
		if path.Ext(page) != ".md" {
			continue
		}
		text, err := os.ReadFile(filepath.Join("..", page))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range fences(page, string(text)) {
			if err := f.parse(); err != nil {
				t.Errorf("%s:%d: %v", f.page, f.line, err)
			}
		}
	}
}

func (f fence) parse() error {
	switch f.language {
	case "yaml":
		_, err := config.Parse("gateway.yaml", []byte(f.text))
		return err
	case "corefile":
		_, err := caddyfile.Parse("Corefile", strings.NewReader(f.text), nil)
		return err
	case "unclosed":
		return fmt.Errorf("this block of code is never closed")
	}
	return nil
}

func TestFences(t *testing.T) {
	const page = "a\n```yaml\nwan: auto\n```\n~~~ corefile\n. {\n    cache\n}\n~~~\n```yaml\nwam: auto\n```\n" +
		"```sh\nls\n```\n```corefile\n. {\n```\n```\nopen\n"
	var got []string
	for _, f := range fences("p.md", page) {
		got = append(got, fmt.Sprintf("%d %s %v", f.line, f.language, f.parse() == nil))
	}
	want := []string{"2 yaml true", "5 corefile true", "10 yaml false", "13 sh true", "16 corefile false", "19 unclosed false"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
