package lists

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"time"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/pkg/pace"
	"github.com/nameroute/nameroute/gateway/pkg/statefile"
	"github.com/nameroute/nameroute/lists/entry"
	"github.com/nameroute/nameroute/lists/format"
	"github.com/nameroute/nameroute/lists/index"
)

// digest is the SHA-256 of a file's content, or of a selection as plain lines.
type digest [sha256.Size]byte

// content is what was read of a list.
type content struct {
	part     *index.Part // its entries
	prefixes []netip.Prefix
	report   Report
	sum      digest
	cost     index.Cost
}

// KnownFormat returns an error for a format that does not exist; "" is to be detected.
func KnownFormat(name string) error { return format.Known(name) }

// Check reads a list as a Library does, and keeps nothing. The report is filled as far as
// the list could be read.
func Check(l gateway.List) (Report, error) {
	c, err := readList(l, l.File, nil, nil, DefaultBudget().List)
	return c.report, err
}

// CheckGently is Check for a process that answers queries meanwhile: it takes half as long
// again and leaves them processor time.
func CheckGently(l gateway.List) (Report, error) {
	c, err := readList(l, l.File, nil, &pace.Pace{}, DefaultBudget().List)
	return c.report, err
}

// readList reads the list l from file, which is l.File or a copy of it, into part, unless that
// is nil. It stops where the list costs more than limit.
func readList(l gateway.List, file string, part *index.Part, p *pace.Pace, limit index.Cost) (content, error) {
	c := content{part: part, report: Report{Name: l.Name, File: l.File}}
	if err := format.Known(l.Format); err != nil {
		return c, fmt.Errorf("list %s: %w", l.Name, err)
	}
	src, hash := format.ParseSource(file), sha256.New()
	m := &meter{limit: limit}
	s := &format.Sink{Raw: hash, Pace: p}
	s.Prefix = func(p netip.Prefix) {
		c.prefixes = append(c.prefixes, p)
		m.Prefix()
		m.passed(s)
	}
	s.Entry = func(e entry.Entry) {
		if part != nil {
			part.Add(e)
		}
		m.Entry(e)
		m.passed(s)
	}
	if src.Selector != "" { // the rest of the file is not this list's content
		s.Raw = nil
		s.CopyTo(hash)
	}
	err := src.Read(l.Format, s)
	c.report.Summary = s.Summary
	var path *fs.PathError // names the file itself
	switch {
	case errors.As(err, &path) && path.Path == src.Path:
		return c, fmt.Errorf("list %s: %w", l.Name, err)
	case err != nil:
		return c, fmt.Errorf("list %s: %s: %w", l.Name, l.File, err)
	}
	hash.Sum(c.sum[:0])
	c.cost = m.Cost()
	if err := m.checkSteps(c.cost); err != nil {
		return c, fmt.Errorf("list %s: %s: %w", l.Name, l.File, err)
	}
	if err := c.report.Check(l.File); err != nil {
		return c, fmt.Errorf("list %s: %w", l.Name, err)
	}
	c.report.LoadedAt = time.Now()
	return c, nil
}

// sumFile returns the digest of a file.
func sumFile(file string, p *pace.Pace) (sum digest, err error) {
	f, err := statefile.Open(file)
	if err != nil {
		return sum, err
	}
	defer f.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, p.Reader(f)); err != nil {
		return sum, err
	}
	hash.Sum(sum[:0])
	return sum, nil
}
