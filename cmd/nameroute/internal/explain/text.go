package explain

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/output"
)

// PrintJSON prints the document for a program.
func PrintJSON(w io.Writer, d Doc) error { return output.JSON(w, d) }

// page is the text that is printed.
type page struct{ b strings.Builder }

func (p *page) heading(text string) { fmt.Fprintf(&p.b, "\n%s\n", text) }

func (p *page) line(format string, args ...any) { fmt.Fprintf(&p.b, "  "+format+"\n", args...) }

// Print prints the page: the verdict, and then all facts in the order in which they decide.
func Print(w io.Writer, d Doc) error {
	p := &page{}
	fmt.Fprintf(&p.b, "%s\n", d.Verdict)
	if len(d.Findings) > 1 {
		for _, f := range d.Findings[1:] {
			p.line("besides: %s", f.Text)
		}
	}
	p.client(d.Client)
	if d.Name != "" {
		p.name(d)
	}
	for _, q := range d.Queries {
		p.query(q)
	}
	for _, a := range d.Addresses {
		p.address(a, d)
	}
	p.remedies(d.Remedies)
	if len(d.Problems) > 0 {
		p.heading("NOT KNOWN")
		for _, text := range d.Problems {
			p.line("%s", text)
		}
	}
	_, err := io.WriteString(w, p.b.String())
	return err
}

func (p *page) client(c Client) {
	p.heading("CLIENT")
	if !c.Address.IsValid() {
		p.line("the box itself; --client ADDRESS looks at a client of lan")
		return
	}
	words := c.Address.String()
	for _, w := range []struct{ before, text string }{{", MAC ", c.MAC}, {", comes in by ", c.Link}, {", of class ", c.Class}} {
		if w.text != "" {
			words += w.before + w.text
		}
	}
	if c.By != "" {
		words += " (" + c.By + ")"
	}
	p.line("%s", words)
}

func (p *page) name(d Doc) {
	p.heading("NAME " + d.Name)
	for _, l := range d.Lists {
		word := "does not hold it"
		switch {
		case l.Holds:
			word = "holds it"
		case l.Alias != "":
			word = "counts as holding it: an answer for a name of " + l.Alias + " leads to it"
		}
		p.line("list %s %s (%s)", l.Name, word, l.Source)
		for _, e := range l.Entries {
			p.line("  %s", e)
			p.line("    %s", e.Meaning)
		}
		if l.Old {
			p.line("  what is in force is older than the file")
		}
		if l.Error != "" {
			p.line("  not in use as it is now: %s", l.Error)
		}
	}
	for _, b := range d.Blocks {
		what := strings.Join(b.Zones, " ")
		if len(b.Lists) > 0 {
			what += " listed " + strings.Join(b.Lists, " ")
		}
		if b.Route != "" {
			what += ", route " + b.Route
		}
		p.line("%s:%d (%s) %s", b.File, b.Line, what, b.Why)
	}
}

func (p *page) query(q Query) {
	p.heading("QUERY " + q.Type + ", asked now at " + q.Listener)
	took := time.Duration(q.Seconds * float64(time.Second)).Round(time.Millisecond / 10)
	switch {
	case q.Error != "":
		p.line("%s, after %v", q.Error, took)
		return
	case q.Upstream != "":
		p.line("%s in %v from %s by route %s", q.Rcode, took, q.Upstream, q.Route)
	case q.From == FromCache:
		p.line("%s in %v from the cache", q.Rcode, took)
	case q.From == FromLocal:
		p.line("%s in %v by the block's own data", q.Rcode, took)
	default:
		p.line("%s in %v", q.Rcode, took)
	}
	for _, r := range q.Answer {
		p.line("%s", strings.ReplaceAll(r, "\t", " "))
	}
	for _, r := range q.Reasons {
		p.line("reason: %s", r)
	}
	for _, r := range q.Removed {
		p.line("left out: %s, which %s answers: %s", r.Address, r.Upstream, r.Why)
	}
}

func (p *page) address(a Address, d Doc) {
	p.heading("ADDRESS " + a.Address.String())
	if a.Local != "" {
		p.line("never rerouted: %s", a.Local)
	}
	for _, s := range a.Sets {
		left := "for good"
		if s.Seconds > 0 {
			left = "for another " + output.Duration(time.Duration(s.Seconds*float64(time.Second)))
		}
		names := strings.Join(s.Names, ", ")
		if s.More {
			names = strings.TrimPrefix(names+", and names that are not known", ", ")
		}
		p.line("in set %s of route %s %s, learned for %s", s.Set, s.Route, left, names)
	}
	for _, x := range a.Prefixes {
		p.line("within %s of list %s, %s:%d", x.Text, x.List, x.File, x.Line)
	}
	if len(a.Sets)+len(a.Prefixes) == 0 {
		p.line("in no set, within no listed prefix")
	}
	p.packet(a.Packet)
	for _, f := range a.Flows {
		text := fmt.Sprintf("flow of %s, %s", f.Source, f.Proto)
		if f.Port != 0 {
			text += fmt.Sprintf(" to port %d", f.Port)
		}
		text += ", goes by " + f.Route
		if f.Remark != "" {
			text += "; " + f.Remark
		}
		p.line("%s", text)
	}
	if a.Probe != nil {
		took := time.Duration(a.Probe.Seconds * float64(time.Second)).Round(time.Millisecond / 10)
		if text := "connection to " + a.Probe.To + " from this box by that way: "; a.Probe.Error != "" {
			p.line("%s%s", text, a.Probe.Error)
		} else {
			p.line("%sanswered in %v", text, took)
		}
	}
}

func (p *page) packet(k Packet) {
	mark := "no mark"
	if k.Mark != "" {
		mark = "mark " + k.Mark
	}
	p.line("new flow: route %s, %s: %s", k.Route, mark, k.By)
	if k.Refused != "" {
		p.line("kernel: %s", k.Refused)
	} else {
		dev := "dev " + k.Link
		if k.Gateway != "" {
			dev = "via " + k.Gateway + " " + dev
		}
		p.line("kernel: policy rule %s, table %d, %s", output.OrDash(k.Rule), k.Table, dev)
		if k.SNAT != "" {
			p.line("source NAT: %s", k.SNAT)
		}
		verdict := "passes"
		if !k.Passes {
			verdict = "drops it: " + k.Link + " is not of route " + k.Route
		}
		p.line("kill switch: %s", verdict)
	}
	for _, o := range k.Others {
		p.line("other programs: %s", o)
	}
}

func (p *page) remedies(all []Remedy) {
	if len(all) == 0 {
		return
	}
	p.heading("WHAT WOULD CHANGE IT")
	for _, r := range all {
		p.line("%s", r.Text)
		for _, c := range r.Commands {
			p.line("  $ %s", c)
		}
	}
}
