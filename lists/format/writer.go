package format

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"strings"

	"github.com/nameroute/nameroute/lists/entry"
)

// Targets returns the names of the formats that a Writer writes.
func Targets() []string {
	names := make([]string, len(targets))
	for i, t := range targets {
		names[i] = t.name
	}
	return names
}

// target is a format that lists are written in.
type target struct {
	name       string
	head, tail string
	separator  string // of two lines
	// entry and prefix return one line, "" for what the format cannot express.
	entry  func(entry.Entry) string
	prefix func(netip.Prefix) string
}

var targets = [...]target{
	{name: Plain, separator: "\n", tail: "\n", entry: plainEntry, prefix: netip.Prefix.String},
	{name: "dnsmasq", separator: "\n", tail: "\n", entry: dnsmasqEntry, prefix: func(netip.Prefix) string { return "" }},
	{name: "clash", head: "payload:\n", separator: "\n", tail: "\n", entry: clashEntry, prefix: clashPrefix},
	{name: "singbox", head: "{\"version\": 1, \"rules\": [\n", separator: ",\n", tail: "\n]}\n", entry: singboxEntry, prefix: singboxPrefix},
	{name: "json", head: "[\n", separator: ",\n", tail: "\n]\n", entry: jsonEntry, prefix: jsonPrefix},
}

// Writer writes a list in one of the formats of Targets.
type Writer struct {
	out     *bufio.Writer
	target  target
	written int
}

// NewWriter returns a Writer of a list to w.
func NewWriter(w io.Writer, format string) (*Writer, error) {
	for _, t := range targets {
		if t.name == format {
			out := bufio.NewWriter(w)
			out.WriteString(t.head) // Flush returns the error
			return &Writer{out: out, target: t}, nil
		}
	}
	return nil, fmt.Errorf("format %q cannot be written: want one of %s", format, strings.Join(Targets(), ", "))
}

// Entry writes an entry. It returns false if the format cannot express it.
func (w *Writer) Entry(e entry.Entry) bool { return w.line(w.target.entry(e)) }

// Prefix writes a prefix. It returns false if the format cannot express it.
func (w *Writer) Prefix(p netip.Prefix) bool { return w.line(w.target.prefix(p)) }

func (w *Writer) line(line string) bool {
	if line == "" {
		return false
	}
	if w.written++; w.written > 1 {
		w.out.WriteString(w.target.separator)
	}
	w.out.WriteString(line)
	return true
}

// Written returns the number of lines that were written.
func (w *Writer) Written() int { return w.written }

// Close ends the list and returns the first error of writing it.
func (w *Writer) Close() error {
	if w.written > 0 || strings.TrimSpace(w.target.tail) != "" {
		w.out.WriteString(w.target.tail)
	}
	return w.out.Flush()
}

// CopyTo makes the sink write what it receives to w, too, as a plain list. The writer must
// keep its errors, as bufio.Writer does.
func (s *Sink) CopyTo(w io.Writer) {
	next, nextPrefix := s.Entry, s.Prefix
	s.Entry = func(e entry.Entry) {
		fmt.Fprintln(w, plainLine(e))
		if next != nil {
			next(e)
		}
	}
	s.Prefix = func(p netip.Prefix) {
		fmt.Fprintln(w, p)
		if nextPrefix != nil {
			nextPrefix(p)
		}
	}
}

// plainLine returns an entry as a line of plain. Exceptions, which plain does not have, begin
// with a word that makes the line one that cannot be parsed.
func plainLine(e entry.Entry) string {
	line := [...]string{"domain:", "*.", "full:", "keyword:", "regexp:"}[e.Kind] + e.Text
	return [...]string{"", "except always ", "except ", "insist "}[e.Exception] + line
}

func plainEntry(e entry.Entry) string {
	if e.Exception.Removes() {
		return ""
	}
	e.Exception = entry.NoException
	return plainLine(e)
}

func dnsmasqEntry(e entry.Entry) string {
	address := ""
	if e.Exception == entry.Specific {
		address = "#"
	} else if e.Exception == entry.Always {
		return ""
	}
	switch e.Kind {
	case entry.Suffix:
		return "server=/" + e.Text + "/" + address
	case entry.Below:
		return "server=/*." + e.Text + "/" + address
	}
	return ""
}

func clashEntry(e entry.Entry) string {
	if e.Exception.Removes() {
		return ""
	}
	kind := [...]string{"DOMAIN-SUFFIX,", "", "DOMAIN,", "DOMAIN-KEYWORD,", "DOMAIN-REGEX,"}[e.Kind]
	if e.Kind == entry.Below {
		kind, e.Text = "DOMAIN-REGEX,", `\.`+strings.ReplaceAll(e.Text, ".", `\.`)+"$"
	}
	return "  - '" + kind + strings.ReplaceAll(e.Text, "'", "''") + "'"
}

func clashPrefix(p netip.Prefix) string {
	if p.Addr().Is4() {
		return "  - 'IP-CIDR," + p.String() + "'"
	}
	return "  - 'IP-CIDR6," + p.String() + "'"
}

func singboxEntry(e entry.Entry) string {
	if e.Exception.Removes() {
		return ""
	}
	key := [...]string{"domain_suffix", "domain_suffix", "domain", "domain_keyword", "domain_regex"}[e.Kind]
	text := e.Text
	if e.Kind == entry.Below {
		text = "." + text
	}
	return "  {" + quote(key) + ": " + quote(text) + "}"
}

func singboxPrefix(p netip.Prefix) string { return `  {"ip_cidr": ` + quote(p.String()) + "}" }

func jsonEntry(e entry.Entry) string {
	line := `  {"kind": ` + quote(e.Kind.String()) + `, "text": ` + quote(e.Text)
	if e.Exception != entry.NoException {
		line += `, "exception": ` + quote([...]string{"", "always", "specific", "insist"}[e.Exception])
	}
	return line + "}"
}

func jsonPrefix(p netip.Prefix) string {
	return `  {"kind": "prefix", "text": ` + quote(p.String()) + "}"
}

// quote returns a text as a JSON string. Marshalling a string cannot fail.
func quote(text string) string {
	b, _ := json.Marshal(text)
	return string(b)
}
