package lists

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/nameroute/nameroute/gateway/pkg/pace"
	"github.com/nameroute/nameroute/lists/entry"
)

// maxSamples is how many skipped lines a report keeps, maxSampleText how much of each.
const (
	maxSamples    = 5
	maxSampleText = 80 // bytes
)

// ErrNoEntries is what a list is refused with that has lines and not a single entry.
var ErrNoEntries = errors.New("no entry")

// Report is what became of one list. Its counts are of the content in use.
type Report struct {
	Name   string
	File   string
	Format string // as told or detected

	Suffix     int // entries on a name and all below it, or only below it
	Full       int // entries on one name
	Keyword    int
	Regexp     int // regular expressions, and names with wildcards inside
	Exceptions int // entries of any kind that take names out
	Prefixes   int // lines that are addresses or prefixes

	Lines   int      // lines other than blank ones and comments
	Skipped int      // lines, or names in them, that mean nothing
	Samples []Sample // the first few of those

	LoadedAt time.Time // when the content in use was read
	LastGood bool      // the content in use is not the file's: that is bad or missing
	Err      error     // why, or one that wraps ErrCopy; nil where all is well
}

// Entries is the number of entries on names, exceptions included.
func (r Report) Entries() int {
	return r.Suffix + r.Full + r.Keyword + r.Regexp + r.Exceptions
}

// Sample is a line that means nothing.
type Sample struct {
	Line   int    // counted from 1; in a base64 file, of the decoded text
	Text   string // at most 80 bytes of it, printable
	Reason string
}

// String is the sample as messages have it.
func (s Sample) String() string { return fmt.Sprintf("line %d: %q: %s", s.Line, s.Text, s.Reason) }

// sink takes what a format reads: it counts, and passes entries and prefixes on.
type sink struct {
	report *Report
	add    func(entry.Entry)  // nil to only count
	prefix func(netip.Prefix) // nil to only count
	line   int                // number of the line being read; in a binary file, of the rule
	text   string             // that line
	file   string             // the file of the folder that it is in; "" for the list's own

	path     string                                   // the list's file
	selector string                                   // what of it is to be read; see source
	open     func(name string) (io.ReadCloser, error) // opens files beside it; nil: there are none
	rewind   func() (io.Reader, error)                // begins the file again; nil: it cannot
	pace     *pace.Pace
}

// alsoTo writes what the sink takes as lines of a plain list. The writer must keep
// its errors, as bufio.Writer does.
func (s *sink) alsoTo(w io.Writer) {
	add, prefix := s.add, s.prefix
	s.add = func(e entry.Entry) {
		fmt.Fprintln(w, plainLine(e))
		if add != nil {
			add(e)
		}
	}
	s.prefix = func(p netip.Prefix) {
		fmt.Fprintln(w, p)
		if prefix != nil {
			prefix(p)
		}
	}
}

func (s *sink) entry(e entry.Entry) {
	s.pace.At(s.report.Entries())
	switch {
	case e.Exception.Removes():
		s.report.Exceptions++
	case e.Kind == entry.Full:
		s.report.Full++
	case e.Kind == entry.Keyword:
		s.report.Keyword++
	case e.Kind == entry.Regexp:
		s.report.Regexp++
	default:
		s.report.Suffix++
	}
	if s.add != nil {
		s.add(e)
	}
}

func (s *sink) entryPrefix(p netip.Prefix) {
	s.pace.At(s.report.Prefixes)
	s.report.Prefixes++
	if s.prefix != nil {
		s.prefix(p.Masked())
	}
}

// skip counts a line, or a name in it, that means nothing.
func (s *sink) skip(text, reason string) {
	s.report.Skipped++
	if len(s.report.Samples) < maxSamples {
		s.report.Samples = append(s.report.Samples, Sample{s.line, printable(text), reason})
	}
}

// check refuses a list that has lines and not a single entry. One that holds only
// comments is fine.
func (r *Report) check() error {
	if r.Lines == 0 || r.Entries() > 0 || r.Prefixes > 0 {
		return nil
	}
	if len(r.Samples) == 0 {
		return fmt.Errorf("%s: %w in %d lines, read as %s", r.File, ErrNoEntries, r.Lines, r.Format)
	}
	return fmt.Errorf("%s: %w in %d lines, read as %s; %v", r.File, ErrNoEntries, r.Lines, r.Format, r.Samples[0])
}

// printable makes a line safe to show: bounded, valid, without control characters.
func printable(s string) string {
	if len(s) > maxSampleText {
		s = s[:maxSampleText]
		for len(s) > 0 && !utf8.RuneStart(s[len(s)-1]) {
			s = s[:len(s)-1]
		}
		if r, _ := utf8.DecodeLastRuneInString(s); r == utf8.RuneError && len(s) > 0 {
			s = s[:len(s)-1]
		}
		s += "…"
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return utf8.RuneError
		}
		return r
	}, strings.ToValidUTF8(s, string(utf8.RuneError)))
}

// String is the report on one line.
func (r Report) String() string {
	s := fmt.Sprintf("%s (%s): %d suffix, %d full, %d keyword, %d regexp, %d exceptions, %d prefixes; %d of %d lines skipped",
		r.Name, r.Format, r.Suffix, r.Full, r.Keyword, r.Regexp, r.Exceptions, r.Prefixes, r.Skipped, r.Lines)
	if r.LastGood {
		s += "; last good content"
	}
	return s
}
