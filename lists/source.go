package lists

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/pkg/statefile"
)

// source is what the file of a list says: a whole file, or a selection, which is
// written behind a colon:
//
//	/lists/geosite.dat:google@ads          a category of a file
//	/lists/dlc:netflix                     a file of a folder, with what it includes
//	/lists/delegated-apnic-latest:CN       a country
type source struct {
	path     string // the file to open
	selector string // what stands behind the colon; "" takes the whole file
	folder   string // the folder that path is in and its includes are looked for; "" for a file
}

// sourceOf splits what a list's file says. A file that really has the whole name
// wins, so that names with colons stay usable. What begins with a letter and a colon
// ("C:name") looks like the drive of another system, and is a name.
func sourceOf(file string) source {
	whole := source{path: file}
	if info, err := os.Stat(file); err == nil && !info.IsDir() {
		return whole
	}
	colon := strings.LastIndexByte(file, ':')
	if colon <= 1 || strings.HasSuffix(file[:colon], "/") || !isSelector(file[colon+1:]) {
		return whole
	}
	s := source{path: file[:colon], selector: file[colon+1:]}
	if info, err := os.Stat(s.path); err == nil && info.IsDir() {
		category, _, _ := strings.Cut(s.selector, "@")
		s.folder = s.path
		// A checkout of domain-list-community has its files one folder deeper.
		if data := filepath.Join(s.path, "data"); !exists(filepath.Join(s.path, category)) && exists(data) {
			s.folder = data
		}
		s.path = filepath.Join(s.folder, strings.ToLower(category))
	}
	return s
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

// isSelector reports whether a text can select: letters, digits and what categories
// and attributes are written with. It can be no path.
func isSelector(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i] | 0x20; !(c >= 'a' && c <= 'z') && strings.IndexByte("0123456789-_.!@", s[i]) < 0 {
			return false
		}
	}
	return s != "" && strings.Trim(s, ".@") != ""
}

// read parses the source as the list l says. raw takes the bytes of the file that
// were read, all of them where there is no error; nil for nobody.
func (src source) read(l gateway.List, raw io.Writer, s *sink) error {
	f, err := statefile.Open(src.path)
	if err != nil {
		return src.missing(err)
	}
	defer f.Close()
	in := &onceTeed{f: f, in: s.pace.Reader(f), to: raw}
	s.selector = src.selector
	s.rewind = func() (io.Reader, error) {
		if err := in.again(); err != nil {
			return nil, err
		}
		return decompress(in)
	}
	name := l.Format
	if src.folder != "" {
		s.open = opener(src.folder)
		if name == "" {
			name = "dlc"
		}
	} else {
		s.open = opener(filepath.Dir(src.path))
	}
	s.path = src.path
	if err := parse(in, src.path, name, s); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, in)
	return err
}

// missing names the nearest file of a folder where the one selected is not there.
func (src source) missing(err error) error {
	if src.folder == "" || !errors.Is(err, os.ErrNotExist) {
		return err
	}
	entries, dirErr := os.ReadDir(src.folder)
	if dirErr != nil {
		return err
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return unknownCategory(filepath.Base(src.path), names)
}

// opener opens files of a folder and none outside it.
func opener(folder string) func(string) (io.ReadCloser, error) {
	return func(name string) (io.ReadCloser, error) {
		if !filepath.IsLocal(name) {
			return nil, fmt.Errorf("%q: outside the folder", name)
		}
		return statefile.Open(filepath.Join(folder, name))
	}
}

// onceTeed copies what is read to a writer, until the file is read again.
type onceTeed struct {
	f  *os.File
	in io.Reader // reads f
	to io.Writer
}

func (t *onceTeed) Read(p []byte) (int, error) {
	n, err := t.in.Read(p)
	if t.to != nil {
		if _, err := t.to.Write(p[:n]); err != nil {
			return n, err
		}
	}
	return n, err
}

// again goes back to the beginning, after what is left has been copied.
func (t *onceTeed) again() error {
	if t.to != nil {
		if _, err := io.Copy(io.Discard, t); err != nil {
			return err
		}
		t.to = nil
	}
	_, err := t.f.Seek(0, io.SeekStart)
	return err
}

// unknownCategory says that a file or folder has no such category, and which one is
// nearest.
func unknownCategory(name string, known []string) error {
	near, best := "", len(name)/2+2
	for _, k := range known {
		if d := distance(strings.ToLower(name), strings.ToLower(k)); d < best {
			near, best = k, d
		}
	}
	switch {
	case len(known) == 0:
		return fmt.Errorf("category %q: unknown; there are none", name)
	case near == "":
		return fmt.Errorf("category %q: unknown; there are %d others", name, len(known))
	}
	return fmt.Errorf("category %q: unknown; the nearest of %d is %q", name, len(known), strings.ToLower(near))
}
