package test

import (
	"go/ast"
	"os"
	"regexp"
	"strings"
	"testing"
)

// A guarantee as docs/guarantees.md lists it, and as a test's comment names it.
var (
	listedGuarantee = regexp.MustCompile(`(?m)^([0-9]+)\. \*\*(.+)\.\*\* `)
	namedGuarantee  = regexp.MustCompile(`(?m)^Guarantee ([0-9]+): (.*)$`)
)

// Every guarantee is proven by an end-to-end test that names it in its comment.
func TestGuaranteesAreProven(t *testing.T) {
	page, err := os.ReadFile("../docs/guarantees.md")
	if err != nil {
		t.Fatal(err)
	}
	titles := map[string]string{} // by number
	for _, m := range listedGuarantee.FindAllStringSubmatch(string(page), -1) {
		titles[m[1]] = m[2]
	}
	if len(titles) != 9 {
		t.Fatalf("docs/guarantees.md lists %d guarantees, want 9", len(titles))
	}
	proven := map[string]bool{}
	for _, s := range sources(t) {
		for _, d := range s.file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || s.dir != "test" || !strings.HasPrefix(f.Name.Name, "Test") {
				continue
			}
			for _, m := range namedGuarantee.FindAllStringSubmatch(f.Doc.Text(), -1) {
				title := titles[m[1]]
				if want := strings.ToLower(title) + "."; title == "" || m[2] != want {
					t.Errorf("%s:%d: guarantee %s is %q, not %q", s.path, s.line(f.Pos()), m[1], want, m[2])
				}
				proven[m[1]] = true
			}
		}
	}
	for number, title := range titles {
		if !proven[number] {
			t.Errorf("no test in ./test names guarantee %s: want a line `// Guarantee %s: %s.` in its comment", number, number, strings.ToLower(title))
		}
	}
}
