package lists

import (
	"bufio"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/pkg/pace"
	"github.com/nameroute/nameroute/gateway/pkg/statefile"
	"github.com/nameroute/nameroute/lists/format"
	"github.com/nameroute/nameroute/lists/index"
)

// ErrCopy is wrapped by the error of a list that is good and in use, but of which no last
// good copy can be stored.
var ErrCopy = errors.New("cannot store its last good copy")

// storeCopy stores the content with this digest as the last good copy of a list, unless it is
// stored already.
func storeCopy(dir string, l gateway.List, sum digest, p *pace.Pace) error {
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
	if errors.Is(err, errChanged) { // the reload that follows reads and stores it
		return nil
	}
	return err
}

// errChanged is the error of a file that has changed since it was read.
var errChanged = errors.New("changed meanwhile")

// copyContent writes a file as it is, or a selection as a plain list: the file that it is
// selected from may be large, or a directory of many files.
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

// copyFile returns the file of a list's last good copy. List names have no slash: the
// configuration checks them.
func copyFile(dir string, l gateway.List) string { return filepath.Join(dir, l.Name+".list") }

// readCopy reads the last good copy of a list. If the format is unknown, it is detected.
func readCopy(dir string, l gateway.List, part *index.Part, p *pace.Pace, limit index.Cost) (content, error) {
	file := copyFile(dir, l)
	if format.ParseSource(l.File).Selector != "" {
		l.Format = format.Plain
	}
	if format.Known(l.Format) != nil {
		l.Format = ""
	}
	c, err := readList(l, file, part, p, limit)
	if err != nil {
		return c, err
	}
	if info, err := os.Stat(file); err == nil {
		c.report.LoadedAt = info.ModTime() // when its content was read
	}
	c.report.LastGood = true
	return c, nil
}
