package leases

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/nameroute/nameroute/gateway/pkg/statefile"
)

const (
	// maxLine bounds a line, in bytes: Kea's may hold a user context.
	maxLine = 1 << 16
	// maxLeases bounds the addresses in one file.
	maxLeases = 1 << 20
	// timestampGranularity exceeds the granularity of file systems' timestamps.
	timestampGranularity = 2 * time.Second
	// maxTries bounds how often a file that changes while it is read is read again.
	maxTries = 5
)

var (
	errForeign = errors.New("neither a dnsmasq lease file nor one of Kea")
	errMany    = fmt.Errorf("more than %d addresses", maxLeases)
)

// file is one lease file, with the files that Kea keeps next to it.
type file struct {
	path     string
	optional bool // a missing file is not logged

	stats   []os.FileInfo // of the parts when they were read; nil before
	recent  bool          // they had changed so recently that another change may have the same timestamp
	entries []entry       // the last good content
	err     error         // of the last read; nil for a missing optional file
}

// content is what readAll read.
type content struct {
	entries map[netip.Addr]entry
	bad     error // of the first line that was skipped
}

// parts lists the files that together hold the leases, oldest first. While Kea's lease
// file cleanup (LFC) runs, .2 is the result of the last cleanup, .completed is the one
// about to replace it, and .1 holds the leases since.
func (f *file) parts() []string {
	return []string{f.path + ".2", f.path + ".completed", f.path + ".1", f.path}
}

// stat returns the file information of the parts, with nil for a missing one.
func (f *file) stat() []os.FileInfo {
	var all []os.FileInfo
	for _, p := range f.parts() {
		info, err := os.Stat(p)
		if err != nil {
			info = nil // the error of opening it is reported
		}
		all = append(all, info)
	}
	return all
}

func changedSince(stats []os.FileInfo, t time.Time) bool {
	return slices.ContainsFunc(stats, func(i os.FileInfo) bool { return i != nil && i.ModTime().After(t) })
}

func sameStats(a, b []os.FileInfo) bool {
	return slices.EqualFunc(a, b, func(a, b os.FileInfo) bool {
		if a == nil || b == nil {
			return a == b
		}
		return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
	})
}

// read reads the file if it has changed, and reports whether new content was read. After
// an error of the file as a whole the previous content stays.
func (f *file) read(suffix string) (changed bool, err error) {
	for try := range maxTries {
		stats := f.stat()
		if sameStats(stats, f.stats) && (try > 0 || !f.recent) {
			break
		}
		// A file with an error is not read again until it changes.
		f.stats, f.recent = stats, changedSince(stats, time.Now().Add(-timestampGranularity))
		c := content{entries: map[netip.Addr]entry{}}
		if err = c.readAll(f.parts(), suffix); err != nil {
			continue
		}
		f.entries, changed = c.list(), true
		if c.bad != nil {
			err = fmt.Errorf("%s: skipped lines, the first: %w", f.path, c.bad)
		}
	}
	return changed, err
}

func (c *content) list() []entry {
	all := make([]entry, 0, len(c.entries))
	for _, e := range c.entries {
		if e.label != "" {
			all = append(all, e)
		}
	}
	return all
}

// readAll reads the parts. All but the last are Kea's and exist only at times; while they
// do, the last may be missing for a moment.
func (c *content) readAll(parts []string, suffix string) error {
	some := false
	for i, p := range parts {
		last := i == len(parts)-1
		r, err := statefile.Open(p)
		if errors.Is(err, fs.ErrNotExist) && (!last || some) {
			continue
		}
		if err != nil {
			return err
		}
		err = c.parse(r, suffix, !last)
		_ = r.Close() // opened for reading only
		if errors.Is(err, errForeign) && !last {
			continue // such as a file of logrotate
		}
		if err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
		some = true
	}
	return nil
}

// parse parses one file, in Kea's format or in either. A last line without a newline is
// still being written and is skipped. An error means the file as a whole.
func (c *content) parse(r io.Reader, suffix string, onlyKea bool) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLine)
	lines.Split(completeLines)
	read := func(line string) (entry, bool, error) { return dnsmasqLine(line, suffix) }
	good := 0
	var bad error
	for n := 1; lines.Scan(); n++ {
		line := lines.Text()
		if n == 1 && strings.HasPrefix(line, keaHeader) {
			columns, err := keaHeaderColumns(line)
			if err != nil {
				return err
			}
			read = func(line string) (entry, bool, error) { return columns.line(line, suffix) }
			good++
			continue
		}
		if n == 1 && onlyKea {
			return errForeign
		}
		if strings.TrimSpace(line) == "" {
			continue
		}
		e, ok, err := read(line)
		switch {
		case err != nil:
			if bad == nil {
				bad = fmt.Errorf("line %d: %w", n, err)
			}
		case ok:
			good++
			c.entries[e.addr] = e
			if len(c.entries) > maxLeases {
				return errMany
			}
		default:
			good++
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	if good == 0 && bad != nil {
		return fmt.Errorf("%w: %w", errForeign, bad)
	}
	c.bad = cmp.Or(c.bad, bad)
	return nil
}

// completeLines is bufio.ScanLines without a last line that has no newline.
func completeLines(data []byte, atEOF bool) (advance int, line []byte, err error) {
	if i := bytes.IndexByte(data, '\n'); i >= 0 {
		return i + 1, bytes.TrimSuffix(data[:i], []byte("\r")), nil
	}
	if atEOF {
		return len(data), nil, nil
	}
	return 0, nil, nil
}
