package listing

import (
	"fmt"
	"io"
	"time"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/output"
	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/lists"
	"github.com/nameroute/nameroute/updater"
)

// PrintConversion prints what was read, written and lost in a conversion.
func PrintConversion(w io.Writer, c lists.Conversion) {
	fmt.Fprintf(w, "%s: %s written\n", c.Report.String(), output.Count(c.Written, "line"))
	for _, s := range c.Report.Samples {
		fmt.Fprintf(w, "not read: %v\n", s)
	}
	if c.Lost > 0 {
		fmt.Fprintf(w, "%s lost:\n", output.Count(c.Lost, "rule"))
	}
	for _, s := range c.Samples {
		fmt.Fprintf(w, "  %v\n", s)
	}
}

// PrintVerdict prints whether a list holds a name, by which rules.
func PrintVerdict(w io.Writer, l gateway.List, v lists.Verdict) {
	if v.Err != nil {
		fmt.Fprintf(w, "%s: neither a name nor an address: %v\n", v.Name, v.Err)
		return
	}
	word := "listed"
	if !v.Listed {
		word = "not listed"
	}
	fmt.Fprintf(w, "%s: %s by %s\n", v.Name, word, l.Name)
	for _, o := range v.Origins {
		fmt.Fprintf(w, "  %v\n    %s\n", o, o.Meaning())
	}
	if len(v.Origins) == 0 {
		fmt.Fprintln(w, "  no rule matches")
	}
	if v.More > 0 {
		fmt.Fprintf(w, "  and %s more\n", output.Count(v.More, "rule"))
	}
}

// PrintResult prints what became of one list in an update; dry says that nothing was
// changed.
func PrintResult(out io.Writer, r updater.Result, dry bool) {
	what := string(r.Outcome)
	if dry && r.Outcome == updater.Updated {
		what = "would be updated"
	}
	switch {
	case r.Err != nil:
		fmt.Fprintf(out, "%s: %s: %v\n", r.List, what, r.Err)
	case r.Outcome == updater.Updated:
		fmt.Fprintf(out, "%s: %s: %d entries (%d before)\n", r.List, what, r.Report.Entries()+r.Report.Prefixes, r.Before)
	default:
		fmt.Fprintf(out, "%s: %s: %d entries\n", r.List, what, r.Before)
	}
	if r.SaveErr != nil {
		fmt.Fprintf(out, "%s: it will be fetched again: %v\n", r.List, r.SaveErr)
	}
	for _, n := range r.Added {
		fmt.Fprintf(out, "+ %s\n", n)
	}
	for _, n := range r.Removed {
		fmt.Fprintf(out, "- %s\n", n)
	}
}

// Progress shows on one line of a terminal how far a download is.
type Progress struct {
	Out  io.Writer
	last time.Time
}

// Show replaces the line, unless it has just been replaced.
func (p *Progress) Show(list string, received, total int64) {
	if time.Since(p.last) < 100*time.Millisecond && received != total {
		return
	}
	p.last = time.Now()
	if total > 0 {
		fmt.Fprintf(p.Out, "\r\x1b[K%s: %s of %s", list, output.Bytes(received), output.Bytes(total))
		return
	}
	fmt.Fprintf(p.Out, "\r\x1b[K%s: %s", list, output.Bytes(received))
}

// Clear removes the line.
func (p *Progress) Clear() { fmt.Fprint(p.Out, "\r\x1b[K") }
