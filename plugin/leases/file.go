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
)

const (
	// maxLine bounds a line, in bytes: Kea's have room for a context of the user.
	maxLine = 1 << 16
	// maxLeases bounds what one file may hold, in addresses.
	maxLeases = 1 << 20
	// tick is more than what a file system's times may be coarse by.
	tick = 2 * time.Second
	// maxTries bounds how often a file is read that is changed meanwhile.
	maxTries = 5
)

var (
	errForeign = errors.New("neither a lease file of dnsmasq nor one of Kea")
	errMany    = fmt.Errorf("over %d addresses", maxLeases)
)

// file is one lease file, with the files that Kea keeps beside it.
type file struct {
	path     string
	optional bool // it may be missing without a word

	seen    []os.FileInfo // how the parts looked when they were read; nil before
	young   bool          // they had changed so lately that the next change may look the same
	entries []entry       // the last good content
	said    string        // what was logged about it last
}

// content is what was read.
type content struct {
	entries map[netip.Addr]entry
	bad     error // about the first line that makes no sense
}

// parts are the files that together hold the leases, oldest first. While Kea cleans
// up (LFC) the leases are spread: .2 is what the last cleanup left, or .completed while
// it takes its place, and .1 is what came since.
func (f *file) parts() []string {
	return []string{f.path + ".2", f.path + ".completed", f.path + ".1", f.path}
}

// look tells how the parts look, so that a change is seen; nil is a missing one.
func (f *file) look() []os.FileInfo {
	var all []os.FileInfo
	for _, p := range f.parts() {
		info, err := os.Stat(p)
		if err != nil {
			info = nil // opening it tells why
		}
		all = append(all, info)
	}
	return all
}

func changedSince(look []os.FileInfo, t time.Time) bool {
	return slices.ContainsFunc(look, func(i os.FileInfo) bool { return i != nil && i.ModTime().After(t) })
}

func sameLook(a, b []os.FileInfo) bool {
	return slices.EqualFunc(a, b, func(a, b os.FileInfo) bool {
		if a == nil || b == nil {
			return a == b
		}
		return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
	})
}

// read reads the file if it has changed, and reports whether its content has. On an
// error that is about the whole file the content stays what it was.
func (f *file) read(suffix string) (changed bool, err error) {
	for try := range maxTries {
		look := f.look()
		if sameLook(look, f.seen) && (try > 0 || !f.young) {
			break
		}
		// What is wrong is not read again before it changes.
		f.seen, f.young = look, changedSince(look, time.Now().Add(-tick))
		c := content{entries: map[netip.Addr]entry{}}
		if err = c.readAll(f.parts(), suffix); err != nil {
			continue
		}
		f.entries, changed = c.list(), true
		if c.bad != nil {
			err = fmt.Errorf("%s: lines are left out, the first: %w", f.path, c.bad)
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

// readAll reads the parts. All but the last are Kea's and there only at times, and then
// it is the last that may be missing for a moment.
func (c *content) readAll(parts []string, suffix string) error {
	some := false
	for i, p := range parts {
		last := i == len(parts)-1
		r, err := os.Open(p)
		if errors.Is(err, fs.ErrNotExist) && (!last || some) {
			continue
		}
		if err != nil {
			return err
		}
		err = c.parse(r, suffix, !last)
		_ = r.Close() // it was only read
		if errors.Is(err, errForeign) && !last {
			continue // as one of logrotate's
		}
		if err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
		some = true
	}
	return nil
}

// parse reads one file, of Kea's format or of either. A last line without its end is
// still being written and is left out. An error is about the file as a whole.
func (c *content) parse(r io.Reader, suffix string, onlyKea bool) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLine)
	lines.Split(wholeLines)
	read := func(line string) (entry, bool, error) { return dnsmasqLine(line, suffix) }
	good := 0
	var bad error
	for n := 1; lines.Scan(); n++ {
		line := lines.Text()
		if n == 1 && strings.HasPrefix(line, keaHeader) {
			columns, err := keaFirst(line)
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

// wholeLines is bufio.ScanLines without a last line that has no end.
func wholeLines(data []byte, atEOF bool) (advance int, line []byte, err error) {
	if i := bytes.IndexByte(data, '\n'); i >= 0 {
		return i + 1, bytes.TrimSuffix(data[:i], []byte("\r")), nil
	}
	if atEOF {
		return len(data), nil, nil
	}
	return 0, nil, nil
}
