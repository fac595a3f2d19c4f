package format

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"path/filepath"
	"strings"

	"github.com/nameroute/nameroute/gateway/pkg/pace"
	"github.com/nameroute/nameroute/lists/entry"
)

// maxSamples is how many of the skipped lines a Summary keeps.
const maxSamples = 5

// ErrNoEntries is the error of a list that has lines and not a single entry.
var ErrNoEntries = errors.New("no entry")

// Summary counts what a list holds.
type Summary struct {
	Format string // as requested or detected

	Suffix     int // entries on a name and all below it, or only below it
	Full       int // entries on one name
	Keyword    int
	Regexp     int // regular expressions, and names with wildcards inside
	Exceptions int // entries of any kind that remove names
	Prefixes   int // lines that are addresses or prefixes

	Lines   int      // lines other than blank ones and comments
	Skipped int      // lines, or names in them, that cannot be parsed
	Samples []Sample // the first few of those
}

// Entries returns the number of entries on names, exceptions included.
func (s Summary) Entries() int {
	return s.Suffix + s.Full + s.Keyword + s.Regexp + s.Exceptions
}

// Size returns the number of entries and prefixes.
func (s Summary) Size() int { return s.Entries() + s.Prefixes }

// Check returns an error for a file that has lines and not a single entry. One that holds
// only comments is fine.
func (s Summary) Check(file string) error {
	switch {
	case s.Lines == 0 || s.Size() > 0:
		return nil
	case len(s.Samples) == 0:
		return fmt.Errorf("%s: %w in %d lines, read as %s", file, ErrNoEntries, s.Lines, s.Format)
	}
	return fmt.Errorf("%s: %w in %d lines, read as %s; %v", file, ErrNoEntries, s.Lines, s.Format, s.Samples[0])
}

// Sample is a line that cannot be parsed.
type Sample struct {
	Line   int    // counted from 1; in a base64 file, of the decoded text
	Text   string // the beginning of it, printable
	Reason string
}

// String returns the sample as messages quote it.
func (s Sample) String() string { return fmt.Sprintf("line %d: %q: %s", s.Line, s.Text, s.Reason) }

// Position is where an entry comes from.
type Position struct {
	File string // of a directory of lists, the file that the line is in; "" for the list's own
	Line int    // counted from 1; in a binary file the number of the rule, in base64 of the decoded text
	Text string // the line, printable and bounded; of a binary file, what the rule says
	Rule bool   // Line counts rules, not lines
}

// Sink receives what a list holds: it counts it and passes it on.
type Sink struct {
	Entry  func(entry.Entry)  // receives each entry; nil: they are only counted
	Prefix func(netip.Prefix) // receives each prefix, masked; nil: they are only counted
	Raw    io.Writer          // receives the bytes of the file, all of them if there is no error; nil: nothing does
	Pace   *pace.Pace         // of reading

	Summary // of what was received

	failed error // that Fail was called with

	line int    // number of the line being read; in a binary file, of the rule
	text string // that line
	file string // the file of the directory that it is in; "" for the list's own

	path     string                                   // the list's file
	selector string                                   // what of it is to be read; see Source
	open     func(name string) (io.ReadCloser, error) // opens files beside it; nil: there are none
	rewind   func() (io.Reader, error)                // starts the file again; nil: it cannot
}

// Position returns where the entry or prefix comes from that was received last. It is for
// Entry and Prefix to call.
func (s *Sink) Position() Position {
	p := Position{Line: s.line, Text: entry.Printable(s.text), Rule: isBinary(s.Format)}
	if s.file != "" {
		p.File = filepath.Join(filepath.Dir(s.path), s.file)
	}
	return p
}

// Fail makes the reading end with an error. It is for Entry and Prefix to call.
func (s *Sink) Fail(err error) { s.failed = err }

// put receives an entry.
func (s *Sink) put(e entry.Entry) {
	if s.failed != nil {
		return
	}
	s.Pace.At(s.Entries())
	switch {
	case e.Exception.Removes():
		s.Exceptions++
	case e.Kind == entry.Full:
		s.Full++
	case e.Kind == entry.Keyword:
		s.Keyword++
	case e.Kind == entry.Regexp:
		s.Regexp++
	default:
		s.Suffix++
	}
	if s.Entry != nil {
		s.Entry(e)
	}
}

// putTyped receives an entry of a kind that the format names, with a text as it is written.
func (s *Sink) putTyped(kind entry.Kind, text string) {
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
	s.put(e)
}

// putPrefix receives a prefix.
func (s *Sink) putPrefix(p netip.Prefix) {
	if s.failed != nil {
		return
	}
	s.Pace.At(s.Prefixes)
	s.Prefixes++
	if s.Prefix != nil {
		s.Prefix(p.Masked())
	}
}

// skip counts a line, or a name in it, that cannot be parsed.
func (s *Sink) skip(text, reason string) {
	s.Skipped++
	if len(s.Samples) < maxSamples {
		s.Samples = append(s.Samples, Sample{s.line, entry.Printable(text), reason})
	}
}
