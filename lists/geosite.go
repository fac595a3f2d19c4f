package lists

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/nameroute/nameroute/lists/entry"
)

// geosite is a category of v2fly's geosite.dat:
//
//	geosite.dat:netflix        all rules of the category
//	geosite.dat:google@ads     those that have the attribute
//	geosite.dat:google@-ads    those that have not
//	geosite.dat:cn@!ads        the same, where no rule has an attribute "!ads"
//
// Attributes may follow each other; a rule must satisfy all of them.
type geosite struct{}

const (
	reasonRuleType  = "a rule of an unknown type"
	reasonDatFormat = "a domain without a name"
)

func (geosite) name() string { return "geosite" }

func (geosite) suits(file string) bool { return strings.HasPrefix(file, "geosite") }

func (geosite) sniff(head []byte) int { return sniffDat(head, 0x08, 0x12) }

// sniffDat tells v2fly's two files by the first tag inside their first rule.
func sniffDat(head []byte, first ...byte) int {
	entry, _, ok := datField(head, 0x0a)
	if !ok {
		return 0
	}
	name, entry, ok := datField(entry, 0x0a)
	if !ok || len(name) == 0 || !utf8.Valid(name) || bytes.ContainsAny(name, "\n\r") {
		return 0
	}
	if len(entry) > 1 && entry[0] == 0x12 {
		if rule, _, ok := datField(entry, 0x12); ok && len(rule) > 0 && bytes.IndexByte(first, rule[0]) >= 0 {
			return len(head)
		}
	}
	return 0
}

// datField reads a field of bytes, as far as the head reaches.
func datField(head []byte, tag byte) (value, rest []byte, ok bool) {
	if len(head) < 2 || head[0] != tag {
		return nil, nil, false
	}
	n, k := protowire.ConsumeVarint(head[1:])
	if k < 0 {
		return nil, nil, false
	}
	head = head[1+k:]
	n = min(n, uint64(len(head)))
	return head[:n], head[n:], true
}

func (geosite) parse(r io.Reader, s *sink) error {
	category, filter, err := selection(s.selector)
	if err != nil {
		return err
	}
	in := bufio.NewReaderSize(r, sniffed)
	if filter.ambiguous() && s.rewind != nil {
		err := eachInCategory(in, category, func(m []byte) error {
			_, _, attributes, err := geositeRule(m)
			filter.see(attributes)
			return err
		}, skipField)
		if err != nil {
			return fmt.Errorf("geosite: %w", err)
		}
		again, err := s.rewind()
		if err != nil {
			return err
		}
		in = bufio.NewReaderSize(again, sniffed)
	}
	err = eachInCategory(in, category, func(m []byte) error {
		kind, text, attributes, err := geositeRule(m)
		if err != nil {
			return err
		}
		s.line++
		if filter.take(attributes) {
			s.report.Lines++
			geositeEntry(kind, text, s)
		}
		return nil
	}, skipField)
	if err != nil {
		return fmt.Errorf("geosite: %w", err)
	}
	return nil
}

func skipField(p *protoReader, _ protowire.Number, t protowire.Type) error { return p.skip(t) }

// geositeRule reads Domain{type = 1, value = 2, attribute = 3 {key = 1}}.
func geositeRule(m []byte) (kind uint64, text string, attributes []string, err error) {
	var inner error
	err = eachField(m, func(n protowire.Number, t protowire.Type, v uint64, b []byte) {
		switch {
		case n == 1 && t == protowire.VarintType:
			kind = v
		case n == 2 && t == protowire.BytesType:
			text = string(b)
		case n == 3 && t == protowire.BytesType:
			err := eachField(b, func(n protowire.Number, t protowire.Type, _ uint64, b []byte) {
				if n == 1 && t == protowire.BytesType {
					attributes = append(attributes, string(b))
				}
			})
			inner = errors.Join(inner, err)
		}
	})
	return kind, text, attributes, errors.Join(err, inner)
}

// geositeEntry makes an entry of a rule; its type is one of Plain, Regex, Domain, Full.
func geositeEntry(kind uint64, text string, s *sink) {
	s.text = text
	if !utf8.ValidString(text) || strings.IndexByte(text, 0) >= 0 {
		s.skip(text, reasonUTF8)
		return
	}
	kinds := [...]entry.Kind{entry.Keyword, entry.Regexp, entry.Suffix, entry.Full}
	switch {
	case kind >= uint64(len(kinds)):
		s.skip(text, reasonRuleType)
	case text == "":
		s.skip(text, reasonDatFormat)
	default:
		s.typed(kinds[kind], text)
	}
}

// typed makes an entry of a text whose kind the format says.
func (s *sink) typed(kind entry.Kind, text string) {
	e := entry.Entry{Kind: kind, Text: text}
	reason := ""
	switch kind {
	case entry.Keyword:
		e.Text = strings.ToLower(text)
		reason = entry.CheckKeyword(e.Text)
	case entry.Regexp:
		reason = entry.CheckRegexp(text)
	default:
		e.Text, reason = entry.CanonicalName(text)
	}
	if reason != "" {
		s.skip(text, reason)
		return
	}
	s.entry(e)
}

// attributeFilter is the attributes that a rule must have, or must not have.
type attributeFilter struct {
	must, mustNot []string
	// either are attributes written with '!', which is the first letter of some
	// attributes' names and means "not" elsewhere. seen are those that exist.
	either []string
	seen   map[string]bool
}

// selection splits CATEGORY@ATTRIBUTE@-ATTRIBUTE.
func selection(selector string) (category string, f attributeFilter, err error) {
	category, rest, _ := strings.Cut(selector, "@")
	if category == "" {
		return "", f, errors.New("it holds many categories: name one behind a colon, FILE:CATEGORY")
	}
	if rest != "" {
		f = newFilter(strings.Split(rest, "@"))
	}
	return category, f, nil
}

func newFilter(attributes []string) attributeFilter {
	f := attributeFilter{seen: map[string]bool{}}
	for _, a := range attributes {
		a = strings.ToLower(a)
		switch {
		case strings.HasPrefix(a, "-"):
			f.mustNot = append(f.mustNot, a[1:])
		case strings.HasPrefix(a, "!"):
			f.either = append(f.either, a)
		case a != "":
			f.must = append(f.must, a)
		}
	}
	return f
}

func (f *attributeFilter) ambiguous() bool { return len(f.either) > 0 }

func (f *attributeFilter) see(attributes []string) {
	for _, a := range attributes {
		f.seen[strings.ToLower(a)] = true
	}
}

func (f *attributeFilter) take(attributes []string) bool {
	has := func(want string) bool {
		for _, a := range attributes {
			if strings.EqualFold(a, want) {
				return true
			}
		}
		return false
	}
	for _, a := range f.must {
		if !has(a) {
			return false
		}
	}
	for _, a := range f.mustNot {
		if has(a) {
			return false
		}
	}
	for _, a := range f.either {
		if f.seen[a] && !has(a) || !f.seen[a] && has(a[1:]) {
			return false
		}
	}
	return true
}
