package provider

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/pkg/statefile"
)

// File is a route's provider file as it is used. It is immutable.
type File struct {
	Conf *Conf // of the file, or of its last good copy; nil where there is neither
	Err  error // why the file itself is not used; nil where it is
}

// Store reads the provider files of routes and falls back to their last good copies,
// which lie in the state directory: all parts of the program go on with the same one,
// each as a process of its own too. Its methods may be called from any goroutine.
//
// Every part may Load. Only the sidecar, which applies what it has loaded to the
// tunnel, may Save and Prune.
type Store struct {
	dir string // of the copies

	mu      sync.Mutex
	entries map[source]*entry
}

// source is what a route's file depends on.
type source struct {
	route, file string
	hooks       bool
}

// entry is what is known of one source.
type entry struct {
	copy string         // path of the last good copy
	file *File          // what Load returned last
	seen [2]fs.FileInfo // of the file and of its copy when they were read; nil: not there

	good    *Conf  // the last good content that this process has read
	text    []byte // good as it was read
	unsaved bool   // it could not be stored: the copy is older
}

// NewStore returns the store below a state directory. It reads nothing yet.
func NewStore(state string) *Store {
	return &Store{dir: filepath.Join(state, "wireguard"), entries: map[source]*entry{}}
}

// Load returns the provider file of a route. While neither the file nor the copy in
// use changes, it returns the same *File again and reads neither. A route without a
// tunnel has an empty one.
func (s *Store) Load(r gateway.Route) *File {
	if r.Egress.Kind != gateway.EgressWireGuard {
		return &File{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.entryLocked(r).load(r)
}

func (s *Store) entryLocked(r gateway.Route) *entry {
	key := source{r.Name, r.Egress.File, r.IgnoreHooks}
	e := s.entries[key]
	if e == nil {
		e = &entry{copy: s.copyOf(r)}
		s.entries[key] = e
	}
	return e
}

// copyOf names the last good copy of a route's file. The path is part of the name: a
// route that is given another file must not go on with a copy of the old one.
func (s *Store) copyOf(r gateway.Route) string {
	return filepath.Join(s.dir, fmt.Sprintf("%s-%08x.conf", r.Name, crc32.ChecksumIEEE([]byte(r.Egress.File))))
}

func (e *entry) load(r gateway.Route) *File {
	seen := [2]fs.FileInfo{stat(r.Egress.File), stat(e.copy)}
	unchanged := e.file != nil && same(seen[0], e.seen[0])
	if unchanged && (e.file.Err == nil || same(seen[1], e.seen[1])) {
		return e.file
	}
	e.seen = seen
	conf, text, err := read(r, r.Egress.File)
	switch {
	case err != nil:
		conf = e.lastGood(r)
	case bytes.Equal(text, e.text):
		conf = e.good
	default:
		e.good, e.text, e.unsaved = conf, text, false
	}
	// What was written again as it was is no change.
	if e.file == nil || e.file.Conf != conf || (e.file.Err == nil) != (err == nil) || err != nil && e.file.Err.Error() != err.Error() {
		e.file = &File{Conf: conf, Err: err}
	}
	return e.file
}

// lastGood returns the content of the copy, or what this process has read itself
// where that is the same or there is no usable copy; nil where there is neither.
func (e *entry) lastGood(r gateway.Route) *Conf {
	if e.unsaved {
		return e.good
	}
	conf, text, err := read(r, e.copy)
	if err != nil || bytes.Equal(text, e.text) {
		return e.good // an unusable copy is as none: why the file itself is not used is reported
	}
	e.good, e.text = conf, text
	return conf
}

// read reads and checks a route's file, or its copy under the name of the file.
func read(r gateway.Route, path string) (*Conf, []byte, error) {
	text, err := readFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("%s: not there: want the provider's WireGuard file", path)
	}
	if err != nil {
		return nil, nil, err
	}
	conf, err := Parse(r.Egress.File, text)
	if err == nil {
		err = conf.CheckHooks(r.IgnoreHooks)
	}
	if err != nil {
		return nil, nil, err
	}
	return conf, text, nil
}

func stat(path string) fs.FileInfo {
	info, err := os.Stat(path)
	if err != nil {
		return nil
	}
	return info
}

// same reports whether a file was not changed between two stats.
func same(a, b fs.FileInfo) bool {
	if a == nil || b == nil {
		return a == b
	}
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

// Save stores the content of a route's file as the last good copy, if Load found it
// good. The copy holds keys: only the owner can read it.
func (s *Store) Save(r gateway.Route) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entryLocked(r)
	if e.file == nil || e.file.Err != nil || e.file.Conf == nil {
		return nil
	}
	if old, err := readFile(e.copy); err == nil && bytes.Equal(old, e.text) {
		return nil
	}
	err := os.MkdirAll(s.dir, 0o700)
	if err == nil {
		err = statefile.Replace(e.copy, 0o600, func(w io.Writer) error {
			_, err := w.Write(e.text)
			return err
		})
	}
	if e.unsaved = err != nil; e.unsaved {
		return fmt.Errorf("save the last good provider file: %w", err)
	}
	return nil
}

// Prune deletes the copies of all routes but these.
func (s *Store) Prune(routes []gateway.Route) error {
	wanted := map[string]bool{}
	for _, r := range routes {
		if r.Egress.Kind == gateway.EgressWireGuard {
			wanted[filepath.Base(s.copyOf(r))] = true
		}
	}
	entries, err := os.ReadDir(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("prune provider files: %w", err)
	}
	var errs []error
	for _, e := range entries {
		if !wanted[e.Name()] && !e.IsDir() { // a directory was set aside
			errs = append(errs, os.Remove(filepath.Join(s.dir, e.Name())))
		}
	}
	if len(wanted) == 0 {
		if err := os.Remove(s.dir); !errors.Is(err, syscall.ENOTEMPTY) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
