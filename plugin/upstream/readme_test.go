package upstream

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/coredns/caddy"
	"github.com/coredns/caddy/caddyfile"
)

func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestReadmeExamples(t *testing.T) {
	examples := regexp.MustCompile(`(?s)\n~~~ corefile\n(.*?)\n~~~\n`).FindAllStringSubmatch(read(t, "README.md"), -1)
	if len(examples) < 3 {
		t.Fatalf("%d examples", len(examples))
	}
	for _, example := range examples {
		blocks, err := caddyfile.Parse("README.md", strings.NewReader(example[1]), nil)
		if err != nil {
			t.Fatalf("%v:\n%s", err, example[1])
		}
		for _, block := range blocks {
			c := caddy.NewTestController("dns", "")
			c.Dispenser = caddyfile.NewDispenserTokens("README.md", block.Tokens["upstream"])
			if _, err := parse(c); err != nil {
				t.Errorf("%v:\n%s", err, example[1])
			}
		}
	}
}

// The README names each property and each metric.
func TestReadmeIsComplete(t *testing.T) {
	readme := read(t, "README.md")
	for _, m := range regexp.MustCompile(`Name: "([a-z_0-9]+)"`).FindAllStringSubmatch(read(t, "metrics.go"), -1) {
		if !strings.Contains(readme, "`coredns_upstream_"+m[1]+"{") {
			t.Errorf("metric %s is not explained", m[1])
		}
	}
	for _, m := range regexp.MustCompile(`\n\tcase "([a-z_]+)":\n\t\t(?:o\.|var|err)`).FindAllStringSubmatch(read(t, "options.go"), -1) {
		if !strings.Contains(readme, "* `"+m[1]+"`") {
			t.Errorf("property %s is not explained", m[1])
		}
	}
}
