package lists

import (
	"bufio"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/pkg/pace"
	"github.com/nameroute/nameroute/gateway/pkg/statefile"
	"github.com/nameroute/nameroute/lists/format"
	"github.com/nameroute/nameroute/lists/index"
)

// digest is the SHA-256 of a file's content, or of a selection as plain lines.
type digest [sha256.Size]byte

// content is a list as it was read.
type content struct {
	part     *index.Part
	prefixes []netip.Prefix
	report   Report
	sum      digest
}

// Check reads a list as a Library would, without keeping anything. The report is
// filled as far as reading came.
func Check(l gateway.List) (Report, error) {
	c, err := readList(l, l.File, nil, nil)
	return c.report, err
}

// CheckGently is Check for a process that answers queries meanwhile: it takes half as
// long again and leaves them room.
func CheckGently(l gateway.List) (Report, error) {
	c, err := readList(l, l.File, nil, &pace.Pace{})
	return c.report, err
}

// readList reads the list l from file, which is l.File or a copy of it, into part, unless that
// is nil.
func readList(l gateway.List, file string, part *index.Part, p *pace.Pace) (content, error) {
	c := content{part: part, report: Report{Name: l.Name, File: l.File}}
	if err := format.Known(l.Format); err != nil {
		return c, fmt.Errorf("list %s: %w", l.Name, err)
	}
	src, hash := format.ParseSource(file), sha256.New()
	s := &format.Sink{Raw: hash, Pace: p, Prefix: func(p netip.Prefix) { c.prefixes = append(c.prefixes, p) }}
	if part != nil {
		s.Entry = part.Add
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
	if err := c.report.Check(l.File); err != nil {
		return c, fmt.Errorf("list %s: %w", l.Name, err)
	}
	c.report.LoadedAt = time.Now()
	return c, nil
}

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

// ErrCopy says that a list is fine and in use, and that there is no copy of it for the
// day when it is not.
var ErrCopy = errors.New("keep a copy")

// keepCopy stores the content that was loaded as the list's last good copy, unless
// that is what is stored already.
func keepCopy(dir string, l gateway.List, sum digest, p *pace.Pace) error {
	to := copyFile(dir, l)
	if have, err := sumFile(to, p); err == nil && have == sum {
		return nil
	}
	if err := writeCopy(l, to, sum, p); err != nil {
		return fmt.Errorf("list %s: %w: %w", l.Name, ErrCopy, err)
	}
	return nil
}

func writeCopy(l gateway.List, to string, sum digest, p *pace.Pace) error {
	err := statefile.Replace(to, 0o644, func(w io.Writer) error {
		hash := sha256.New()
		out := bufio.NewWriter(io.MultiWriter(w, hash))
		if err := copyContent(out, l, p); err != nil {
			return err
		}
		if err := out.Flush(); err != nil {
			return err
		}
		if digest(hash.Sum(nil)) != sum {
			return errChanged
		}
		return nil
	})
	if errors.Is(err, errChanged) { // the reload that follows reads and keeps it
		return nil
	}
	return err
}

// errChanged says that a file is not the one any more that was read.
var errChanged = errors.New("changed meanwhile")

// copyContent writes a file as it is, or a selection as a plain list: the file that
// it is from may be large, and its folder many files.
func copyContent(w io.Writer, l gateway.List, p *pace.Pace) error {
	src := format.ParseSource(l.File)
	if src.Selector != "" {
		s := &format.Sink{Pace: p}
		s.CopyTo(w)
		return src.Read(l.Format, s)
	}
	in, err := statefile.Open(l.File)
	if err != nil {
		return err
	}
	defer in.Close()
	_, err = io.Copy(w, p.Reader(in))
	return err
}

// copyFile is where a list's last good copy lies. List names are checked by
// gateway and hold no slash.
func copyFile(dir string, l gateway.List) string { return filepath.Join(dir, l.Name+".list") }

// readCopy reads a list's last good copy. An unknown format is then left to detection.
func readCopy(dir string, l gateway.List, part *index.Part, p *pace.Pace) (content, error) {
	file := copyFile(dir, l)
	if format.ParseSource(l.File).Selector != "" {
		l.Format = format.Plain
	}
	if format.Known(l.Format) != nil {
		l.Format = ""
	}
	c, err := readList(l, file, part, p)
	if err != nil {
		return c, err
	}
	if info, err := os.Stat(file); err == nil {
		c.report.LoadedAt = info.ModTime() // when it was read from its source
	}
	c.report.LastGood = true
	return c, nil
}

// signature tells cheaply whether a file has changed since it was read.
type signature struct {
	size         int64
	mtime, ctime time.Time
	dev, inode   uint64
	young        bool // changed so shortly before it was read that a second change may not show
	missing      bool
}

// clockGrain is more than the coarsest time stamps of common file systems (FAT: 2 s).
const clockGrain = 3 * time.Second

func sign(file string, now time.Time) signature {
	info, err := os.Stat(file)
	if err != nil {
		return signature{missing: true}
	}
	s := signature{size: info.Size(), mtime: info.ModTime()}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		s.dev, s.inode = uint64(st.Dev), st.Ino
		s.ctime = time.Unix(st.Ctim.Unix())
	}
	s.young = now.Sub(s.mtime) < clockGrain || now.Sub(s.ctime) < clockGrain
	return s
}

// same reports whether nothing can have changed between two looks at a file.
func (s signature) same(later signature) bool {
	young := s.young
	s.young, later.young = false, false
	return !young && s == later
}
