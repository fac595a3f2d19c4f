package test

import (
	"go/ast"
	"go/doc"
	"path"
	"regexp"
	"strings"
	"testing"
)

// bannedNames are words that no identifier, file or package of this tree has in its name, each
// with what it says instead. They are words of a camel-case name, not parts of one.
var bannedNames = map[string]string{
	"alien": "foreign", "aliens": "foreign", "amiss": "drifted", "anew": "again", "aside": "the verb for it",
	"astray": "drifted", "curtain": "abort", "dnshalf": "dataplane", "door": "killSwitch", "doors": "killSwitch",
	"fallen": "fallsBack", "halves": "parts", "heed": "handle", "heeds": "handles", "interlude": "serve",
	"judge": "accept", "led": "alias", "lie": "raw", "lies": "is", "lying": "raw", "manners": "policy",
	"meddle": "disturb", "meddling": "drift", "nobody": "no program", "question": "query",
	"questions": "queries", "rejudge": "requestPrune", "said": "logged", "seldom": "rateLimited",
	"somebody": "another program", "stands": "exists", "twin": "replica", "twins": "replicas",
	"unjustified": "prune", "unmet": "neverConnected", "way": "egress", "ways": "egresses",
	"whoever": "the program that", "whole": "what it is",
}

// allowedNames are identifiers with such a word in a sense of the field.
var allowedNames = map[string]string{
	"Question":     "the section of a DNS message (RFC 1035 section 4.1.2)",
	"SetAside":     "what is done to a damaged file",
	"readQuestion": "the section of a DNS message",
}

// bannedProse are words and phrases of first sentences of doc comments.
var bannedProse = regexp.MustCompile(`(?i)\b(amiss|anew|astray|doors?|halves|heeds?|led to|lies|lying|nobody|questions?|` +
	`said|seldom|somebody|stands|take[ns]? up|taken out|twins?|unmet|whoever|(of|as|the|a|its|their) whole|` +
	`by (the|a) (WAN|tunnel|route))\b`)

// allowedProse are such phrases in a sense of the field, and whole as an adjective; a sentence
// is searched without them.
var allowedProse = regexp.MustCompile(`(?i:\bquestion section|\bas a whole\b|\btake[ns]? up to\b|\bwhole ([a-np-z]|o[a-eg-z])[a-z]*)|^(Question|SetAside)\b`)

// Where a camel-case name is cut into words: HTTP|Server and left|Over.
var (
	camelAcronym = regexp.MustCompile(`([A-Z])([A-Z][a-z])`)
	camelWord    = regexp.MustCompile(`([a-z0-9])([A-Z])`)
	notLetters   = regexp.MustCompile(`[^A-Za-z]+`)
)

// banned returns the first banned word of a name, or "".
func banned(name string) string {
	if allowedNames[name] != "" {
		return ""
	}
	cut := camelWord.ReplaceAllString(camelAcronym.ReplaceAllString(name, "$1 $2"), "$1 $2")
	for _, w := range notLetters.Split(cut, -1) {
		if w = strings.ToLower(w); bannedNames[w] != "" {
			return w
		}
	}
	return ""
}

func TestWords(t *testing.T) {
	report := func(s source, line int, format string, args ...any) {
		t.Errorf("%s:%d: "+format, append([]any{s.path, line}, args...)...)
	}
	for _, s := range sources(t) {
		if w := banned(strings.TrimSuffix(path.Base(s.path), ".go")); w != "" {
			report(s, 1, "file name with %q: say %s", w, bannedNames[w])
		}
		for _, id := range declared(s.file) {
			if w := banned(id.Name); w != "" {
				report(s, s.line(id.Pos()), "%s has %q: say %s", id.Name, w, bannedNames[w])
			}
		}
		for _, c := range docComments(s.file) {
			sentence := new(doc.Package).Synopsis(c.Text())
			if w := bannedProse.FindString(allowedProse.ReplaceAllString(sentence, "")); w != "" {
				report(s, s.line(c.Pos()), "a doc comment has %q: %s", w, sentence)
			}
		}
	}
}

// declared are the identifiers that a file declares, local ones too.
func declared(file *ast.File) (all []*ast.Ident) {
	add := func(ids ...*ast.Ident) { all = append(all, ids...) }
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.File:
			add(n.Name)
		case *ast.FuncDecl:
			add(n.Name)
		case *ast.TypeSpec:
			add(n.Name)
		case *ast.ValueSpec:
			add(n.Names...)
		case *ast.Field:
			add(n.Names...)
		case *ast.AssignStmt:
			for _, left := range n.Lhs {
				// With = it is declared elsewhere, and found there.
				if id, ok := left.(*ast.Ident); ok && n.Tok.String() == ":=" {
					add(id)
				}
			}
		case *ast.RangeStmt:
			for _, e := range []ast.Expr{n.Key, n.Value} {
				if id, ok := e.(*ast.Ident); ok {
					add(id)
				}
			}
		}
		return true
	})
	return all
}

// docComments are the comments of a file's package, declarations and fields.
func docComments(file *ast.File) (all []*ast.CommentGroup) {
	add := func(c *ast.CommentGroup) {
		if c != nil {
			all = append(all, c)
		}
	}
	add(file.Doc)
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			add(n.Doc)
		case *ast.GenDecl:
			add(n.Doc)
		case *ast.TypeSpec:
			add(n.Doc)
		case *ast.ValueSpec:
			add(n.Doc)
		case *ast.Field:
			add(n.Doc)
		}
		return true
	})
	return all
}

// The rule itself is tested.
func TestBannedWords(t *testing.T) {
	for name, want := range map[string]string{
		"closedDoor": "door", "SetAside": "", "wayOut": "way", "away": "", "Lies": "lies", "allies": "", "replicaTable": "",
		"e2e_halves_test": "halves", "HTTPQuestion": "question", "Question": "",
	} {
		if got := banned(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	for sentence, want := range map[string]string{
		"Package whole reads lists of the kernel's whole.": "", "A closed door.": "door", "Load reads the whole file.": "",
		"Read returns the whole of it.": "the whole", "The question section has one entry.": "", "It is asked by the WAN.": "by the WAN",
	} {
		if got := bannedProse.FindString(allowedProse.ReplaceAllString(sentence, "")); got != want {
			t.Errorf("%s: %q, want %q", sentence, got, want)
		}
	}
}
