package lists

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"strings"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/lists/entry"
)

// Targets names what Convert writes.
func Targets() []string {
	names := make([]string, len(targets))
	for i, t := range targets {
		names[i] = t.name
	}
	return names
}

// target is a way of writing lists.
type target struct {
	name       string
	head, tail string
	between    string // stands between two lines
	// entry and prefix write one line; "" says that the format has none for it.
	entry  func(entry.Entry) string
	prefix func(netip.Prefix) string
}

var targets = [...]target{
	{name: "plain", between: "\n", tail: "\n", entry: plainEntry, prefix: netip.Prefix.String},
	{name: "dnsmasq", between: "\n", tail: "\n", entry: dnsmasqEntry, prefix: func(netip.Prefix) string { return "" }},
	{name: "clash", head: "payload:\n", between: "\n", tail: "\n", entry: clashEntry, prefix: clashPrefix},
	{name: "singbox", head: "{\"version\": 1, \"rules\": [\n", between: ",\n", tail: "\n]}\n", entry: singboxEntry, prefix: singboxPrefix},
	{name: "json", head: "[\n", between: ",\n", tail: "\n]\n", entry: jsonEntry, prefix: jsonPrefix},
}

// Conversion is what became of a list that was converted.
type Conversion struct {
	Report  Report
	Written int      // lines written
	Lost    int      // entries and prefixes that the target cannot say
	Samples []Sample // the first few of those, with why
}

// Convert reads a list and writes it as to, one of Targets, without keeping it in
// memory. Duplicates are written as often as they are read. The error is about
// reading or writing; what the target cannot say is counted.
func Convert(w io.Writer, l gateway.List, to string) (Conversion, error) {
	c := Conversion{Report: Report{Name: l.Name, File: l.File}}
	t, err := targetNamed(to)
	if err != nil {
		return c, err
	}
	out := bufio.NewWriter(w)
	out.WriteString(t.head)
	s := &sink{report: &c.Report}
	write := func(line, from string) {
		if line == "" {
			c.Lost++
			if len(c.Samples) < maxSamples {
				c.Samples = append(c.Samples, Sample{s.line, printable(from), "cannot be written as " + t.name})
			}
			return
		}
		if c.Written++; c.Written > 1 {
			out.WriteString(t.between)
		}
		out.WriteString(line)
	}
	s.add = func(e entry.Entry) { write(t.entry(e), s.text) }
	s.prefix = func(p netip.Prefix) { write(t.prefix(p), p.String()) }
	if err := sourceOf(l.File).read(l, nil, s); err != nil {
		return c, fmt.Errorf("%s: %w", l.File, err)
	}
	if c.Written > 0 || strings.TrimSpace(t.tail) != "" {
		out.WriteString(t.tail)
	}
	if err := c.Report.check(); err != nil {
		return c, err
	}
	return c, out.Flush()
}

func targetNamed(name string) (target, error) {
	for _, t := range targets {
		if t.name == name {
			return t, nil
		}
	}
	return target{}, fmt.Errorf("%q: cannot be written; known are %s", name, strings.Join(Targets(), ", "))
}

// plainLine is an entry as plain has it; exceptions, which plain has not, are told by
// a word in front, so that they never read as entries.
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

// quote is a text as JSON has it. Marshalling a string cannot go wrong.
func quote(text string) string {
	b, _ := json.Marshal(text)
	return string(b)
}
