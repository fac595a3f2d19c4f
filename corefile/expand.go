package corefile

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"github.com/coredns/caddy/caddyfile"
	"github.com/nameroute/nameroute/gateway/pkg/statefile"
)

// Bounds on what one Corefile may import, all files together.
const (
	maxImports = 1000
	maxDepth   = 20
	maxBytes   = 16 << 20
)

// Text is a Corefile in which the imported files replace their import lines, so that it
// can be served, compared and stored without them. It is immutable.
type Text struct {
	Body  []byte
	Files []string // that were imported
	Dirs  []string // where other files could match the pattern of an import

	name    string
	lines   []Position // where each line of Body was written; nil where nothing is imported
	written []byte     // Body before withClients; nil where that changed nothing
}

// Name returns the name of the Corefile.
func (t *Text) Name() string { return t.name }

// Expand reads the files that a Corefile imports, as CoreDNS would: relative to the
// importing file, with {$VARIABLES} and at most one wildcard. Imports of snippets stay.
// Blocks get the listeners of the classes of clients that they answer.
// The error has the form of CoreDNS's own, with the file and line of the import.
func Expand(name string, text []byte) (*Text, error) {
	e := &expansion{snippets: map[string]bool{}}
	e.text.name = name
	if err := e.addFile(name, text, 0); err != nil {
		return nil, err
	}
	if e.imports == 0 {
		return (&Text{Body: text, name: name}).withClients()
	}
	e.text.Body = e.out.Bytes()
	return e.text.withClients()
}

type expansion struct {
	text     Text
	out      bytes.Buffer
	snippets map[string]bool // defined so far
	imports  int
}

// addFile writes the lines of a file, and those of other files in place of its imports.
func (e *expansion) addFile(name string, text []byte, depth int) error {
	text = bytes.TrimPrefix(text, []byte("\uFEFF"))
	words := findWords(name, text)
	n := 0
	for line := range bytes.Lines(text) {
		n++
		w, ok := words[n]
		if ok && w.snippet != "" {
			e.snippets[w.snippet] = true
		}
		if !ok || w.pattern == "" || e.snippets[w.pattern] {
			e.write(line, name, n)
			continue
		}
		found, err := e.match(name, w.pattern)
		if len(found) == 0 && w.inSnippet {
			e.write(line, name, n) // a snippet may be defined further down, or never used
			continue
		}
		if err == nil && depth >= maxDepth {
			err = fmt.Errorf("imports are nested more than %d deep", maxDepth)
		}
		if err != nil {
			return problem(name, n, err)
		}
		if w.afterBrace {
			e.write(line[:bytes.IndexByte(line, '{')+1], name, n)
		}
		if err := e.addImports(Position{name, n}, found, depth); err != nil {
			return err
		}
	}
	return nil
}

// addImports writes the files that one import matches.
func (e *expansion) addImports(at Position, files []string, depth int) error {
	for _, f := range files {
		e.imports++
		text, err := readFile(f)
		switch {
		case err != nil:
			return problem(at.File, at.Line, fmt.Errorf("could not import %s: %w", f, err))
		case e.imports > maxImports:
			return problem(at.File, at.Line, fmt.Errorf("more than %d imports", maxImports))
		case e.out.Len()+len(text) > maxBytes:
			return problem(at.File, at.Line, fmt.Errorf("with %s the Corefile is larger than %d bytes", f, maxBytes))
		}
		e.text.Files = append(e.text.Files, f)
		if err := e.addFile(f, text, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (e *expansion) write(line []byte, file string, n int) {
	e.out.Write(line)
	if !bytes.HasSuffix(line, []byte("\n")) {
		e.out.WriteByte('\n')
	}
	e.text.lines = append(e.text.lines, Position{file, n})
}

// match returns the files that a pattern matches. A pattern may match none; a single file
// must exist.
func (e *expansion) match(from, pattern string) ([]string, error) {
	pattern = replaceVariables(pattern)
	if pattern == "" {
		return nil, errors.New("import requires a non-empty path")
	}
	if !filepath.IsAbs(pattern) {
		abs, err := filepath.Abs(from)
		if err != nil {
			return nil, err
		}
		pattern = filepath.Join(filepath.Dir(abs), pattern)
	}
	e.imports++ // even without a match the line is removed
	if strings.Count(pattern, "*") > 1 || strings.Count(pattern, "?") > 1 || strings.Contains(pattern, "[") && strings.Contains(pattern, "]") {
		return nil, fmt.Errorf("glob pattern may only contain one wildcard (*), but has others: %s", pattern)
	}
	wild := strings.ContainsAny(pattern, "*?")
	found, err := filepath.Glob(pattern)
	if err != nil {
		return nil, fmt.Errorf("import pattern %s: %w", pattern, err)
	}
	e.text.Dirs = append(e.text.Dirs, filepath.Dir(pattern))
	if len(found) == 0 && !wild {
		return nil, fmt.Errorf("file to import not found: %s", pattern)
	}
	return found, nil
}

func readFile(name string) ([]byte, error) {
	text, err := statefile.ReadFile(name)
	if errors.Is(err, statefile.ErrNotRegular) {
		err = statefile.ErrNotRegular // the name is in the message already
	}
	return text, err
}

// problem is an error in the form that CoreDNS's own errors have.
func problem(file string, line int, err error) error {
	return fmt.Errorf("%s:%d - Error during parsing: %w", file, line, err)
}

// word is a line that imports something or begins a snippet.
type word struct {
	pattern    string
	afterBrace bool // the import follows the { of its block on one line
	inSnippet  bool
	snippet    string
}

// findWords returns the lines that import something or begin a snippet. CoreDNS's own
// lexer reads the file, so quotes and comments have the same meaning.
func findWords(name string, text []byte) map[int]word {
	found := map[int]word{}
	tokens := append([]caddyfile.Token{{}}, lex(name, text)...) // line 0, so that the first one begins a line
	same := func(i int) bool { return i < len(tokens) && lastLine(tokens[i-1]) == tokens[i].Line }
	depth, snippet := 0, false
	for i := 1; i < len(tokens); i++ {
		t := tokens[i]
		switch {
		case t.Text == "{":
			depth++
		case t.Text == "}":
			if depth--; depth <= 0 {
				snippet = false
			}
		case depth == 0 && !same(i) && isSnippet(t.Text) && same(i+1) && tokens[i+1].Text == "{":
			snippet = true
			found[t.Line] = word{snippet: t.Text[1 : len(t.Text)-1]}
		case t.Text == "import" && same(i+1) && !same(i+2):
			brace := same(i) && depth == 1 && tokens[i-1].Text == "{"
			if brace || !same(i) {
				found[t.Line] = word{pattern: tokens[i+1].Text, afterBrace: brace, inSnippet: snippet}
			}
		}
	}
	return found
}

func isSnippet(key string) bool {
	return len(key) > 2 && strings.HasPrefix(key, "(") && strings.HasSuffix(key, ")")
}

var variable = regexp.MustCompile(`\{\$([^}]+)\}|\{%([^%]+)%\}`)

// replaceVariables replaces {$NAME} and {%NAME%} by environment variables.
func replaceVariables(s string) string {
	return variable.ReplaceAllStringFunc(s, func(ref string) string { return os.Getenv(strings.Trim(ref, "{$%}")) })
}

// Verify compares the text with CoreDNS's own parse of the Corefile and its imports as
// they are now. An error means that a file has changed meanwhile, or cannot be put in place
// of its import. A Corefile that CoreDNS refuses is left to it.
func (t *Text) Verify(original []byte) error {
	if t.lines == nil {
		return nil
	}
	want, err := caddyfile.Parse(t.name, bytes.NewReader(original), nil)
	if err != nil {
		return nil
	}
	body := t.Body
	if t.written != nil {
		body = t.written
	}
	have, err := caddyfile.Parse(t.name, bytes.NewReader(body), nil)
	if err != nil {
		return t.Explain(err)
	}
	if !reflect.DeepEqual(withoutPositions(have), withoutPositions(want)) {
		return fmt.Errorf("%s: its imports changed while they were read", t.name)
	}
	return nil
}

// withoutPositions removes the positions of the blocks' tokens.
func withoutPositions(blocks []caddyfile.ServerBlock) []caddyfile.ServerBlock {
	for _, b := range blocks {
		for _, tokens := range b.Tokens {
			for i := range tokens {
				tokens[i].File, tokens[i].Line = "", 0
			}
		}
	}
	return blocks
}

// Explain replaces the positions in an error about the text by those in the files where
// the lines were written.
func (t *Text) Explain(err error) error {
	if err == nil || t == nil || t.lines == nil {
		return err
	}
	text := err.Error()
	at := regexp.MustCompile(regexp.QuoteMeta(t.name) + `:(\d+)`)
	placed := at.ReplaceAllStringFunc(text, func(s string) string {
		n, convErr := strconv.Atoi(s[len(t.name)+1:])
		if convErr != nil || n < 1 || n > len(t.lines) {
			return s
		}
		return fmt.Sprintf("%s:%d", t.lines[n-1].File, t.lines[n-1].Line)
	})
	if placed == text {
		return err
	}
	return &explained{placed, err}
}

// explained is an error with another text.
type explained struct {
	text string
	err  error
}

func (e *explained) Error() string { return e.text }
func (e *explained) Unwrap() error { return e.err }
