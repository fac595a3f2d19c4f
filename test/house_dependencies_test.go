package test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// docs/dependencies.md says of every direct dependency which version is used and why.
func TestDependenciesAreExplained(t *testing.T) {
	mod, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := os.ReadFile("../docs/dependencies.md")
	if err != nil {
		t.Fatal(err)
	}
	all := sources(t)
	used, told := map[string]string{}, map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^(?:require)?\s+(\S+\.\S+/\S+) (v\S+)$`).FindAllStringSubmatch(string(mod), -1) {
		used[m[1]] = m[2]
	}
	for _, m := range regexp.MustCompile("(?m)^\\| `(\\S+)` \\| (v\\S+) \\| (.{20,}) \\|$").FindAllStringSubmatch(string(doc), -1) {
		told[m[1]] = m[2]
	}
	if len(used) < 5 {
		t.Fatalf("found only %d dependencies in go.mod", len(used))
	}
	for m, version := range used {
		if !imported(all, m) {
			t.Errorf("go.mod: nothing imports %s", m)
		}
		if told[m] != version {
			t.Errorf("docs/dependencies.md: %s is %q, want %q as in go.mod, in a line `| module | version | why |`", m, told[m], version)
		}
	}
	for m := range told {
		if used[m] == "" {
			t.Errorf("docs/dependencies.md: %s is no direct dependency", m)
		}
	}
}

// imported reports whether a Go file of ours imports a package of the module.
func imported(all []source, module string) bool {
	for _, s := range all {
		for _, spec := range s.file.Imports {
			if p := strings.Trim(spec.Path.Value, `"`) + "/"; strings.HasPrefix(p, module+"/") {
				return true
			}
		}
	}
	return false
}
