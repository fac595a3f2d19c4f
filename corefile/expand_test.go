package corefile

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coredns/caddy/caddyfile"
	"github.com/google/go-cmp/cmp"
)

// folder writes files into a new folder and returns it.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		name = filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// CoreDNS parses the one text to the same blocks as the files, without needing them.
func TestExpandMeansTheSame(t *testing.T) {
	t.Setenv("EXPAND_TEST", "conf.d")
	for _, c := range []struct {
		name  string
		files map[string]string
	}{
		{"none", map[string]string{"Corefile": "\uFEFF. {\n    whoami\n}"}},
		{"a file in a block", map[string]string{"Corefile": ". {\n    import a.conf # here\n    errors\n}\n", "a.conf": "\uFEFFlog # no end of line"}},
		{"blocks, and a pattern", map[string]string{"Corefile": "import conf.d/*.conf\n. {\n whoami\n}\n", "conf.d/a.conf": "a {\n log\n}", "conf.d/b.conf": "b {\n errors\n}\n"}},
		{"a pattern without files", map[string]string{"Corefile": "import none.d/*.conf\n. {\n whoami\n import none*\n}\n"}},
		{"snippets of another file", map[string]string{"Corefile": "import snippets\n. {\n import common\n import more\n}\n", "snippets": "(common) {\n errors\n import later\n}\n(later) {\n log\n}\n(unused) {\n import nowhere.conf\n}\n", "more": "whoami\n"}},
		{"nested, relative to the importing file", map[string]string{"Corefile": ". {\n import sub/a\n}\n", "sub/a": "import b\nerrors\n", "sub/b": "log\n"}},
		{"a variable", map[string]string{"Corefile": ". {\n import {$EXPAND_TEST}/x\n import {%EXPAND_TEST%}/y\n}\n", "conf.d/x": "log\n", "conf.d/y": "errors\n"}},
		{"after the brace", map[string]string{"Corefile": ". { import a\n whoami\n}\n", "a": "log\n"}},
		{"within a directive", map[string]string{"Corefile": ". {\n hosts {\n  import names\n  fallthrough\n }\n}\n", "names": "192.0.2.1 a.example\n192.0.2.2 b.example\n"}},
		{"keys", map[string]string{"Corefile": "a.example,\nimport zones\n{\n whoami\n}\n", "zones": "b.example,\nc.example"}},
		{"no import", map[string]string{"Corefile": ". {\n hosts {\n  192.0.2.1 import a\n }\n log \"\nimport b\n\"\n # import c\n}\n"}},
		{"quoted", map[string]string{"Corefile": ". {\n \"import\" \"a b\"\n}\n", "a b": "log\n"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := folder(t, c.files)
			name := filepath.Join(dir, "Corefile")
			want, err := caddyfile.Parse(name, strings.NewReader(c.files["Corefile"]), nil)
			if err != nil {
				t.Fatalf("the test's Corefile: %v", err)
			}
			x, err := Expand(name, []byte(c.files["Corefile"]))
			if err != nil {
				t.Fatal(err)
			}
			if err := x.Verify([]byte(c.files["Corefile"])); err != nil {
				t.Error(err)
			}
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
			have, err := caddyfile.Parse(name, bytes.NewReader(x.Body), nil)
			if err != nil {
				t.Fatalf("%v in:\n%s", err, x.Body)
			}
			if diff := cmp.Diff(withoutPositions(want), withoutPositions(have)); diff != "" {
				t.Errorf("-CoreDNS +ours:\n%s\n%s", diff, x.Body)
			}
		})
	}
}

func TestExpandErrorsNameThePlace(t *testing.T) {
	for _, c := range []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"missing", map[string]string{"Corefile": ". {\n import a\n}\n"}, "DIR/Corefile:2 - Error during parsing: file to import not found: DIR/a"},
		{"missing, nested", map[string]string{"Corefile": ". {\n import a\n}\n", "a": "log\nimport b\n"}, "DIR/a:2 - Error during parsing: file to import not found: DIR/b"},
		{"a folder", map[string]string{"Corefile": "import a*\n", "ab/c": ""}, "DIR/Corefile:1 - Error during parsing: could not import DIR/ab: not a regular file"},
		{"itself", map[string]string{"Corefile": "import Corefile\n"}, "DIR/Corefile:1 - Error during parsing: imports are nested more than 20 deep"},
		{"wildcards", map[string]string{"Corefile": "import *.d/*\n"}, "DIR/Corefile:1 - Error during parsing: glob pattern may only contain one wildcard (*), but has others: DIR/*.d/*"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := folder(t, c.files)
			_, err := Expand(filepath.Join(dir, "Corefile"), []byte(c.files["Corefile"]))
			if err == nil || strings.ReplaceAll(err.Error(), dir, "DIR") != c.want {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
		})
	}
}

func TestExplainNamesTheImportedFile(t *testing.T) {
	files := map[string]string{"Corefile": ". {\n log\n import a\n errors\n}\n", "a": "one\ntwo\n"}
	dir := folder(t, files)
	name := filepath.Join(dir, "Corefile")
	x, err := Expand(name, []byte(files["Corefile"]))
	if err != nil {
		t.Fatal(err)
	}
	for line, want := range map[int]string{1: "Corefile:1", 2: "Corefile:2", 3: "a:1", 4: "a:2", 5: "Corefile:4", 6: "Corefile:5", 7: "Corefile:7"} {
		cause := fmt.Errorf("%s:%d - Error during parsing: no: %w", name, line, os.ErrInvalid)
		got := x.Explain(cause)
		if want := filepath.Join(dir, want) + " - Error during parsing: no: invalid argument"; got.Error() != want {
			t.Errorf("line %d: %v, want %s", line, got, want)
		}
		if !errors.Is(got, os.ErrInvalid) {
			t.Errorf("line %d: the cause is lost", line)
		}
	}
}

func TestVerifyNoticesAChange(t *testing.T) {
	files := map[string]string{"Corefile": "import a\n", "a": ". {\n log\n}\n"}
	dir := folder(t, files)
	x, err := Expand(filepath.Join(dir, "Corefile"), []byte(files["Corefile"]))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "a"), []byte(". {\n errors\n}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := x.Verify([]byte(files["Corefile"])); err == nil {
		t.Error("the change is not noticed")
	}
}

// Whatever a Corefile and a file that it imports contain, the expansion ends within its
// bounds, and each of its lines is one of the two files.
func FuzzExpand(f *testing.F) {
	f.Add(". {\n import other\n}\n", "errors\nlog")
	f.Add("import other*\nimport other\n", "(s) {\n bind 127.0.0.1\n}\n")
	f.Add("import s\n(s) {\n import other\n}\n", "import other\n")
	f.Add("import \"other\" a b\n. { import other }\n", "\xef\xbb\xbfimport\n")
	f.Fuzz(func(t *testing.T, text, other string) {
		if strings.ContainsAny(text+other, "/$%") {
			t.Skip("it could read files or variables of this machine")
		}
		dir := t.TempDir()
		name := filepath.Join(dir, "Corefile")
		if err := os.WriteFile(filepath.Join(dir, "other"), []byte(other), 0o600); err != nil {
			t.Fatal(err)
		}
		e, err := Expand(name, []byte(text))
		if err != nil {
			return
		}
		if len(e.Body) > 2*maxBytes || len(e.Files) > maxImports {
			t.Errorf("%d bytes of %d files", len(e.Body), len(e.Files))
		}
		for _, file := range e.Files {
			if file != filepath.Join(dir, "other") {
				t.Errorf("imported %s", file)
			}
		}
		for _, at := range e.lines {
			if n := strings.Count(map[string]string{name: text, filepath.Join(dir, "other"): other}[at.File], "\n") + 1; at.Line < 1 || at.Line > n {
				t.Errorf("%s has no line %d", at.File, at.Line)
			}
		}
	})
}
