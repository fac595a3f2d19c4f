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

	"github.com/google/renameio/v2"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/pkg/pace"
	"github.com/nameroute/nameroute/gateway/pkg/statefile"
)

// digest is the SHA-256 of a file's content, or of a selection as plain lines.
type digest [sha256.Size]byte

// content is a list as it was read.
type content struct {
	part     *part
	prefixes []netip.Prefix
	report   Report
	sum      digest
}

// Check reads a list as a Library would, without keeping anything. The report is
// filled as far as reading came.
func Check(l gateway.List) (Report, error) {
	c, err := readList(l, l.File, seed{}, nil)
	return c.report, err
}

// CheckGently is Check for a process that answers queries meanwhile: it takes half as
// long again and leaves them room.
func CheckGently(l gateway.List) (Report, error) {
	c, err := readList(l, l.File, seed{}, &pace.Pace{})
	return c.report, err
}

// readList parses the list l out of file, which is l.File or a copy of it.
func readList(l gateway.List, file string, s seed, p *pace.Pace) (content, error) {
	c := content{part: &part{seed: s}, report: Report{Name: l.Name, File: l.File}}
	if l.Format != "" {
		if _, err := formatNamed(l.Format); err != nil {
			return c, fmt.Errorf("list %s: %w", l.Name, err)
		}
	}
	src, hash := sourceOf(file), sha256.New()
	out := &sink{report: &c.report, pace: p, add: c.part.add, prefix: func(p netip.Prefix) { c.prefixes = append(c.prefixes, p) }}
	raw := io.Writer(hash)
	if src.selector != "" { // what else is in the file is not this list's content
		raw = nil
		out.alsoTo(hash)
	}
	var path *fs.PathError // names the file itself
	switch err := src.read(l, raw, out); {
	case errors.As(err, &path) && path.Path == src.path:
		return c, fmt.Errorf("list %s: %w", l.Name, err)
	case err != nil:
		return c, fmt.Errorf("list %s: %s: %w", l.Name, l.File, err)
	}
	hash.Sum(c.sum[:0])
	if err := c.report.check(); err != nil {
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
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	out, err := renameio.NewPendingFile(to, renameio.WithPermissions(0o644))
	if err != nil {
		return err
	}
	defer out.Cleanup()
	hash := sha256.New()
	buffered := bufio.NewWriter(io.MultiWriter(out, hash))
	if err := copyContent(buffered, l, p); err != nil {
		return err
	}
	if err := buffered.Flush(); err != nil {
		return err
	}
	if digest(hash.Sum(nil)) != sum {
		return nil // it changed meanwhile; the reload that follows reads and keeps it
	}
	return out.CloseAtomicallyReplace()
}

// copyContent writes a file as it is, or a selection as a plain list: the file that
// it is from may be large, and its folder many files.
func copyContent(w io.Writer, l gateway.List, p *pace.Pace) error {
	src := sourceOf(l.File)
	if src.selector != "" {
		out := &sink{report: &Report{}, pace: p}
		out.alsoTo(w)
		return src.read(l, nil, out)
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
func readCopy(dir string, l gateway.List, s seed, p *pace.Pace) (content, error) {
	file := copyFile(dir, l)
	if sourceOf(l.File).selector != "" {
		l.Format = plain{}.name()
	}
	if _, err := formatNamed(l.Format); err != nil {
		l.Format = ""
	}
	c, err := readList(l, file, s, p)
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
