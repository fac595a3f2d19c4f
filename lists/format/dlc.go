package format

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/nameroute/nameroute/lists/entry"
)

// dlc is the sources of domain-list-community, a directory with a file for each category:
//
//	example.com @ads @cn     the name and all below it, with attributes; also domain:
//	full: keyword: regexp:   as in plain
//	include:other            the rules of another file of the directory
//	include:other @ads @-cn  those that have ads and do not have cn
//	example.com &other       the rule is in the category other, too
//
// '#' begins a comment. DIRECTORY:category@ads reads the rules that have ads.
type dlc struct{}

const (
	maxIncludes = 64 // depth of files that include each other
	reasonDLC   = "not a rule of domain-list-community"
)

func (dlc) name() string { return "dlc" }

func (dlc) suits(string) bool { return false }

func (dlc) sniff(head []byte) int {
	includes := countLines(head, func(line string) bool { return strings.HasPrefix(line, "include:") })
	attributes := countLines(head, func(line string) bool {
		rule, rest, _ := strings.Cut(line, " ")
		return strings.HasPrefix(rest, "@") && !strings.Contains(rule, "/")
	})
	if includes+attributes == 0 {
		return 0
	}
	return includes + attributes + plain{}.sniff(head)
}

func (dlc) parse(r io.Reader, s *Sink) error {
	var top attributeFilter
	category := filepath.Base(s.path)
	if s.selector != "" {
		var err error
		if category, top, err = parseSelector(s.selector); err != nil {
			return err
		}
	}
	w := &dlcWalk{s: s, done: map[string]bool{}}
	if top.ambiguous() {
		if err := w.attributes(&top); err != nil {
			return err
		}
	}
	if err := w.read(r, category, []attributeFilter{top}, nil); err != nil {
		return err
	}
	if s.selector == "" {
		return nil
	}
	return w.affiliated(category, top)
}

// dlcWalk reads a file and those it includes.
type dlcWalk struct {
	s    *Sink
	done map[string]bool // files that were read, with the filters on the path to them
}

// dlcRule is a line: a rule, its attributes, and other categories that it is in.
type dlcRule struct {
	text       string
	attributes []string
	affiliated []string
}

func readDLC(line string) (r dlcRule) {
	if hash := strings.IndexByte(line, '#'); hash >= 0 {
		line = line[:hash]
	}
	for i, f := range strings.Fields(line) {
		switch {
		case i == 0:
			r.text = f
		case f[0] == '@':
			r.attributes = append(r.attributes, f[1:])
		case f[0] == '&':
			r.affiliated = append(r.affiliated, strings.ToLower(f[1:]))
		default:
			r.text = "" // two names on a line
			return r
		}
	}
	return r
}

// read parses one file, which the files of path include. A rule must pass all filters: those
// of the includes on the path and that of the list itself.
func (w *dlcWalk) read(r io.Reader, category string, filters []attributeFilter, path []string) error {
	category = strings.ToLower(category)
	if slices.Contains(path, category) {
		return fmt.Errorf("include loop: %s", strings.Join(append(path, category), " includes "))
	}
	if len(path) == maxIncludes {
		return fmt.Errorf("include:%s: more than %d files deep", category, maxIncludes)
	}
	path = append(slices.Clone(path), category)
	return w.each(r, category, func(line string, rule dlcRule) error {
		if other, ok := strings.CutPrefix(rule.text, "include:"); ok {
			return w.include(other, rule, filters, path)
		}
		w.rule(line, rule, filters)
		return nil
	})
}

// each calls rule for the lines of a file until one fails. Then the sink is at the line of
// the including file again.
func (w *dlcWalk) each(r io.Reader, category string, rule func(line string, r dlcRule) error) error {
	outer := *w.s
	defer func() { w.s.line, w.s.text, w.s.file = outer.line, outer.text, outer.file }()
	w.s.file = category
	var failed error
	err := eachLine(r, w.s, "#", func(line string) {
		if failed == nil {
			failed = rule(line, readDLC(line))
		}
	})
	return errors.Join(failed, err)
}

func (w *dlcWalk) include(other string, rule dlcRule, filters []attributeFilter, path []string) error {
	if w.s.open == nil {
		w.s.skip("include:"+other, "there is no directory to include from")
		return nil
	}
	if len(rule.attributes) > 0 {
		filters = append(slices.Clone(filters), newAttributeFilter(rule.attributes))
	}
	key := strings.ToLower(other) + fmt.Sprint(filters)
	if w.done[key] && !slices.Contains(path, strings.ToLower(other)) {
		return nil // another path to the same rules
	}
	w.done[key] = true
	f, err := w.s.open(strings.ToLower(other))
	if err != nil {
		return fmt.Errorf("%s includes %s: %w", path[len(path)-1], other, err)
	}
	defer f.Close()
	return w.read(f, other, filters, path)
}

func (w *dlcWalk) rule(line string, rule dlcRule, filters []attributeFilter) {
	for i := range filters {
		if !filters[i].matches(rule.attributes) {
			return
		}
	}
	kind, text, found := strings.Cut(rule.text, ":")
	switch {
	case rule.text == "":
		w.s.skip(line, reasonDLC)
	case !found:
		w.s.putTyped(entry.Suffix, rule.text)
	case kind == "domain":
		w.s.putTyped(entry.Suffix, text)
	case kind == "full":
		w.s.putTyped(entry.Full, text)
	case kind == "keyword":
		w.s.putTyped(entry.Keyword, text)
	case kind == "regexp":
		w.s.putTyped(entry.Regexp, text)
	default:
		w.s.skip(line, reasonDLC)
	}
}

// affiliated adds the rules of other files that are in the category, too.
func (w *dlcWalk) affiliated(category string, top attributeFilter) error {
	return w.others(category, func(line string, rule dlcRule) {
		if slices.Contains(rule.affiliated, strings.ToLower(category)) {
			w.s.Lines++
			w.rule(line, rule, []attributeFilter{top})
		}
	})
}

// attributes makes the attributes that exist known to a filter.
func (w *dlcWalk) attributes(top *attributeFilter) error {
	return w.others("", func(_ string, rule dlcRule) { top.addKnown(rule.attributes) })
}

// others reads all files of the directory but one, without counting their lines.
func (w *dlcWalk) others(but string, rule func(line string, r dlcRule)) error {
	entries, err := os.ReadDir(filepath.Dir(w.s.path))
	if err != nil {
		return err
	}
	quiet := &dlcWalk{s: w.s, done: w.done}
	for _, e := range entries {
		if strings.EqualFold(e.Name(), but) || !e.Type().IsRegular() {
			continue
		}
		f, err := w.s.open(e.Name())
		if err != nil {
			return err
		}
		skipped, lines, samples := w.s.Skipped, w.s.Lines, w.s.Samples
		more := 0
		err = quiet.each(f, e.Name(), func(line string, r dlcRule) error {
			before := w.s.Lines
			rule(line, r)
			more += w.s.Lines - before
			return nil
		})
		w.s.Lines = lines + more
		if more == 0 {
			w.s.Skipped, w.s.Samples = skipped, samples
		}
		f.Close()
		if err != nil {
			return err
		}
	}
	return nil
}
