// Package statefile opens every file that the program reads, and replaces those of the state
// directory. Only regular files are opened: a pipe would wait for a writer, a device may have
// no end. What cannot be used, a damaged file, a directory or a pipe of that name, is set
// aside rather than trusted, and a process that is killed leaves the old content or the new
// one.
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

// ErrNotRegular is wrapped by the error of opening a directory, pipe, socket or device.
var ErrNotRegular = errors.New("not a regular file")

// Open opens a regular file for reading and refuses anything else.
func Open(file string) (*os.File, error) { return OpenFile(file, os.O_RDONLY, 0) }

// OpenFile is os.OpenFile that refuses what is no regular file and waits for nothing. The
// check before the open leaves devices alone, some of which do something when they are opened
// (a watchdog begins to count); that after it sees a file that was exchanged in between.
func OpenFile(file string, flag int, perm fs.FileMode) (*os.File, error) {
	if info, err := os.Stat(file); err == nil && !info.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "read", Path: file, Err: ErrNotRegular}
	}
	truncate := flag & os.O_TRUNC
	f, err := os.OpenFile(file, flag&^os.O_TRUNC|syscall.O_NONBLOCK|syscall.O_NOCTTY, perm)
	if errors.Is(err, syscall.ENXIO) { // a pipe that nobody reads, a socket
		return nil, &fs.PathError{Op: "read", Path: file, Err: ErrNotRegular}
	}
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &fs.PathError{Op: "read", Path: file, Err: ErrNotRegular}
	}
	if err == nil && truncate != 0 {
		err = f.Truncate(0)
	}
	if err != nil {
		_ = f.Close() // nothing was written
		return nil, err
	}
	return f, nil
}

// MaxText bounds what ReadFile reads, in bytes. Files that users write by hand, and all of
// the state directory that is read at once, are far smaller.
const MaxText = 16 << 20

// ReadFile reads a regular file of at most MaxText bytes.
func ReadFile(file string) ([]byte, error) {
	f, err := Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, MaxText+1))
	if err != nil {
		return nil, err
	}
	if len(text) > MaxText {
		return nil, &fs.PathError{Op: "read", Path: file, Err: fmt.Errorf("larger than %d bytes", MaxText)}
	}
	return text, nil
}

// SetAside renames what has the name of a file, so that a new one can be written, and
// returns its new name. What was set aside before is replaced, unless that is a directory.
func SetAside(file string) (renamed string, err error) {
	renamed = file + BadSuffix
	for n := 2; ; n++ {
		err := os.Rename(file, renamed)
		if err == nil {
			return renamed, nil
		}
		if info, statErr := os.Lstat(renamed); n > maxBad || errors.Is(err, fs.ErrNotExist) || statErr != nil || !info.IsDir() {
			return "", fmt.Errorf("set aside as %s: %w", renamed, err)
		}
		renamed = fmt.Sprintf("%s%s.%d", file, BadSuffix, n)
	}
}

const maxBad = 9 // of one name, where directories are in the way

// Displace sets aside what has the name of a file and is none: a directory, a pipe, a
// socket, a device, a link to one of them or to nothing. It returns "" where nothing was in
// the way.
func Displace(file string) (renamed string, err error) {
	if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() {
		return "", nil
	}
	if _, err := os.Lstat(file); err != nil {
		return "", nil
	}
	return SetAside(file)
}

// Replace writes a file and puts it in the place of the old one when all of it is on
// disk. The directory is made where it is missing; what is in the way is set aside.
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
	if _, err := Displace(file); err != nil {
		return err
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
