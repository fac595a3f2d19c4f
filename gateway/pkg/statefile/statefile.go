// Package statefile reads and replaces the files of the state directory. What cannot be
// used, a damaged file, a directory or a pipe of that name, is set aside rather than
// trusted, and a process that is killed leaves the old content or the new one.
package statefile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/google/renameio/v2"
)

// BadSuffix ends the name of a file that was set aside.
const BadSuffix = ".bad"

// Open opens a regular file for reading and refuses anything else: opening a pipe would
// wait for a writer. The check follows the open, so that the file cannot be exchanged
// in between.
func Open(file string) (*os.File, error) {
	f, err := os.OpenFile(file, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &fs.PathError{Op: "read", Path: file, Err: errors.New("not a regular file")}
	}
	if err != nil {
		_ = f.Close() // nothing was written
		return nil, err
	}
	return f, nil
}

// SetAside renames what has the name of a file, so that a new one can be written, and
// returns its new name.
func SetAside(file string) (renamed string, err error) {
	renamed = file + BadSuffix
	if err := os.Rename(file, renamed); err != nil {
		return "", fmt.Errorf("set aside as %s: %w", renamed, err)
	}
	return renamed, nil
}

// Replace writes a file and puts it in the place of the old one when all of it is on
// disk. The directory is made where it is missing.
func Replace(file string, perm fs.FileMode, write func(io.Writer) error) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	f, err := renameio.NewPendingFile(file, renameio.WithPermissions(perm))
	if err != nil {
		return err
	}
	defer f.Cleanup() // without effect after CloseAtomicallyReplace
	if err := write(f); err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	return f.CloseAtomicallyReplace()
}

// RemovePending removes what processes that were killed in Replace left beside a file.
// It must not run while another process replaces the file.
func RemovePending(file string) error {
	dir, name := filepath.Split(file)
	if dir == "" {
		dir = "."
	}
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	errs := []error{err}
	for _, e := range entries {
		if isPending(e.Name(), name) {
			errs = append(errs, os.Remove(filepath.Join(dir, e.Name())))
		}
	}
	return errors.Join(errs...)
}

// isPending reports whether a name is one of renameio's for a pending file: a dot, the
// name, and digits.
func isPending(entry, name string) bool {
	prefix := "." + name
	if len(entry) <= len(prefix) || entry[:len(prefix)] != prefix {
		return false
	}
	for _, c := range []byte(entry[len(prefix):]) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}
