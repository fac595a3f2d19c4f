package format

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/nameroute/nameroute/gateway/pkg/statefile"
	"github.com/nameroute/nameroute/lists/format/decompress"
	"github.com/nameroute/nameroute/lists/format/ruleset"
)

// Source is what the file of a list names: a file, or a part of one, which is named after a
// colon:
//
//	/lists/geosite.dat:google@ads          a category of a file
//	/lists/dlc:netflix                     a file of a directory, with what it includes
//	/lists/delegated-apnic-latest:CN       a country
type Source struct {
	Path     string // the file to open
	Selector string // what follows the colon; "" reads all of the file
	Dir      string // the directory that Path and what it includes is in; "" for a single file
}

// ParseSource splits what names the file of a list. If a file has all of it as its name,
// that is the file, so that names with colons stay usable. What begins with a letter and a
// colon ("C:name") looks like the drive of another system, and is a name.
func ParseSource(file string) Source {
	single := Source{Path: file}
	if info, err := os.Stat(file); err == nil && !info.IsDir() {
		return single
	}
	colon := strings.LastIndexByte(file, ':')
	if colon <= 1 || strings.HasSuffix(file[:colon], "/") || !isSelector(file[colon+1:]) {
		return single
	}
	src := Source{Path: file[:colon], Selector: file[colon+1:]}
	if info, err := os.Stat(src.Path); err == nil && info.IsDir() {
		category, _, _ := strings.Cut(src.Selector, "@")
		src.Dir = src.Path
		// A checkout of domain-list-community has its files one directory deeper.
		if data := filepath.Join(src.Path, "data"); !exists(filepath.Join(src.Path, category)) && exists(data) {
			src.Dir = data
		}
		src.Path = filepath.Join(src.Dir, strings.ToLower(category))
	}
	return src
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

// isSelector reports whether a text can select: letters, digits and the characters of
// categories and attributes. It cannot be a path.
func isSelector(s string) bool {
	for i := range len(s) {
		if c := s[i] | 0x20; !(c >= 'a' && c <= 'z') && strings.IndexByte("0123456789-_.!@", s[i]) < 0 {
			return false
		}
	}
	return s != "" && strings.Trim(s, ".@") != ""
}

// Read reads the source in a format, or in the one detected if that is "". It returns only
// errors that make all of the source unusable.
func (src Source) Read(format string, s *Sink) error {
	f, err := statefile.Open(src.Path)
	if info, statErr := os.Stat(src.Path); errors.Is(err, statefile.ErrNotRegular) && statErr == nil && info.IsDir() {
		return fmt.Errorf("%w: it is a directory: name a category of it after a colon, %s:NAME", err, src.Path)
	}
	if err != nil {
		return src.suggest(err)
	}
	defer f.Close()
	in := &teeOnce{f: f, in: s.Pace.Reader(f), to: s.Raw, failed: &s.failed}
	s.path, s.selector = src.Path, src.Selector
	s.rewind = func() (io.Reader, error) {
		if err := in.rewind(); err != nil {
			return nil, err
		}
		return decompress.Reader(in)
	}
	if src.Dir != "" {
		s.open = openerIn(src.Dir)
		if format == "" {
			format = dlc{}.name()
		}
	} else {
		s.open = openerIn(filepath.Dir(src.Path))
	}
	if err := parse(in, src.Path, format, s); err != nil || s.failed != nil {
		return cmp.Or(s.failed, err)
	}
	_, err = io.Copy(io.Discard, in)
	return err
}

// suggest adds the nearest file of the directory to the error of one that does not exist.
func (src Source) suggest(err error) error {
	if src.Dir == "" || !errors.Is(err, os.ErrNotExist) {
		return err
	}
	entries, dirErr := os.ReadDir(src.Dir)
	if dirErr != nil {
		return err
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return ruleset.UnknownCategory(filepath.Base(src.Path), names)
}

// openerIn returns a function that opens files of a directory and none outside it.
func openerIn(dir string) func(string) (io.ReadCloser, error) {
	return func(name string) (io.ReadCloser, error) {
		if !filepath.IsLocal(name) {
			return nil, fmt.Errorf("%q: outside the directory", name)
		}
		return statefile.Open(filepath.Join(dir, name))
	}
}

// teeOnce copies what is read to a writer, until the file is read again.
type teeOnce struct {
	f  *os.File
	in io.Reader // reads f
	to io.Writer

	failed *error // ends the reading
}

func (t *teeOnce) Read(p []byte) (int, error) {
	if *t.failed != nil {
		return 0, *t.failed
	}
	n, err := t.in.Read(p)
	if t.to != nil {
		if _, err := t.to.Write(p[:n]); err != nil {
			return n, err
		}
	}
	return n, err
}

// rewind goes back to the beginning, after the rest has been copied.
func (t *teeOnce) rewind() error {
	if t.to != nil {
		if _, err := io.Copy(io.Discard, t); err != nil {
			return err
		}
		t.to = nil
	}
	_, err := t.f.Seek(0, io.SeekStart)
	return err
}
