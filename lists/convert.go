package lists

import (
	"fmt"
	"io"
	"net/netip"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/lists/entry"
	"github.com/nameroute/nameroute/lists/format"
)

// Conversion is the result of Convert.
type Conversion struct {
	Report  Report
	Written int             // lines written
	Lost    int             // entries and prefixes that the target cannot express
	Samples []format.Sample // the first few of those
}

// maxLostSamples is how many of the lost entries a Conversion keeps.
const maxLostSamples = 5

// Convert reads a list and writes it in the format to, one of format.Targets, without
// holding it in memory. Duplicates are written as often as they are read. The error is about
// reading or writing; what the target cannot express is counted.
func Convert(w io.Writer, l gateway.List, to string) (Conversion, error) {
	c := Conversion{Report: Report{Name: l.Name, File: l.File}}
	out, err := format.NewWriter(w, to)
	if err != nil {
		return c, err
	}
	s := &format.Sink{}
	lost := func(text string) {
		c.Lost++
		if len(c.Samples) < maxLostSamples {
			c.Samples = append(c.Samples, format.Sample{
				Line: s.Position().Line, Text: entry.Printable(text), Reason: "cannot be written as " + to,
			})
		}
	}
	s.Entry = func(e entry.Entry) {
		if !out.Entry(e) {
			lost(s.Position().Text)
		}
	}
	s.Prefix = func(p netip.Prefix) {
		if !out.Prefix(p) {
			lost(p.String())
		}
	}
	err = format.ParseSource(l.File).Read(l.Format, s)
	c.Report.Summary, c.Written = s.Summary, out.Written()
	if err != nil {
		return c, fmt.Errorf("%s: %w", l.File, err)
	}
	if err := s.Check(l.File); err != nil {
		return c, err
	}
	return c, out.Close()
}
