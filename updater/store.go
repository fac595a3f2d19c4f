package updater

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/renameio/v2"
	"golang.org/x/sys/unix"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/pkg/statefile"
)

// maxVersions is how many versions of a list are stored, including the one in use.
const maxVersions = 3

// lockPause is the time between two attempts to take the lock.
const lockPause = 50 * time.Millisecond

// store is the files of all fetched lists:
//
//	NAME                    the content in use
//	.updater/NAME.json      its metadata
//	.updater/NAME.1, .2     the versions before it, the newest first
//	.updater/NAME.part      an incomplete download
//	.updater/new/NAME       a complete one that is not accepted yet
//	.updater/lock           locked while any of these changes
//
// Everything but the content in use is one directory below, so that a watch on the
// contents is not woken by it.
type store struct {
	dir  string
	step func(string) // for tests: called before each change on disk; may be nil
}

func newStore(state string) store { return store{dir: gateway.FetchedDir(state)} }

func (s store) private(name string) string        { return filepath.Join(s.dir, ".updater", name) }
func (s store) content(list string) string        { return filepath.Join(s.dir, list) }
func (s store) meta(list string) string           { return s.private(list + ".json") }
func (s store) part(list string) string           { return s.private(list + ".part") }
func (s store) version(list string, n int) string { return s.private(fmt.Sprintf("%s.%d", list, n)) }

// incoming has the base name of the content: formats may be detected by it.
func (s store) incoming(list string) string { return filepath.Join(s.private("new"), list) }

func (s store) before(step string) {
	if s.step != nil {
		s.step(step)
	}
}

// lock makes the directories and waits until no other process changes them. It then
// removes what a killed process has left behind.
func (s store) lock(ctx context.Context) (unlock func(), err error) {
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return nil, err
	}
	for _, dir := range []string{s.private(""), s.private("new")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
	}
	if _, err := statefile.Displace(s.private("lock")); err != nil {
		return nil, err
	}
	f, err := statefile.OpenFile(s.private("lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, errors.Join(s.removeTemporary(), s.displaceOthers())
		}
		if err != unix.EWOULDBLOCK && err != unix.EINTR {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("another process holds the lock: %w", ctx.Err())
		case <-time.After(lockPause):
		}
	}
}

// removeTemporary removes the temporary files of a process that was killed.
func (s store) removeTemporary() error {
	entries, err := os.ReadDir(s.private(""))
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") && e.Type().IsRegular() {
			errs = append(errs, os.Remove(s.private(e.Name())))
		}
	}
	return errors.Join(errs...)
}

// displaceOthers sets aside the pipes, directories and the like that have the names of files.
func (s store) displaceOthers() error {
	var errs []error
	for _, dir := range []string{s.dir, s.private(""), s.private("new")} {
		entries, err := os.ReadDir(dir)
		errs = append(errs, err)
		for _, e := range entries {
			file := filepath.Join(dir, e.Name())
			if file == s.private("") || file == s.private("new") || strings.Contains(e.Name(), statefile.BadSuffix) {
				continue
			}
			_, err := statefile.Displace(file)
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// install makes the incoming content the one in use and stores those before it. If it
// is interrupted, the content in use is complete: the old one or the new one.
func (s store) install(list string) error {
	if err := s.archive(list); err != nil {
		return fmt.Errorf("archive the version in use: %w", err)
	}
	s.before("replace")
	if err := os.Rename(s.incoming(list), s.content(list)); err != nil {
		return err
	}
	s.before("sync")
	return s.sync()
}

// archive gives the content in use a second name among the versions before it.
func (s store) archive(list string) error {
	now, err := os.Stat(s.content(list))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if first, err := os.Stat(s.version(list, 1)); err == nil && os.SameFile(now, first) {
		return nil // an install was interrupted here
	}
	for n := maxVersions - 1; n > 1; n-- {
		s.before("shift")
		if err := os.Rename(s.version(list, n-1), s.version(list, n)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	s.before("archive")
	return linkOrCopy(s.content(list), s.version(list, 1))
}

// linkOrCopy gives a file a second name, or copies it where the file system has no links.
func linkOrCopy(from, to string) error {
	err := os.Link(from, to)
	if err == nil || !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.EMLINK) {
		return err
	}
	in, err := statefile.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := renameio.NewPendingFile(to, renameio.WithPermissions(0o644))
	if err != nil {
		return err
	}
	defer out.Cleanup()
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	return out.CloseAtomicallyReplace()
}

// sync writes the directories to disk: the contents have been synced before.
func (s store) sync() error {
	for _, dir := range []string{s.private(""), s.dir} {
		f, err := os.Open(dir)
		if err != nil {
			return err
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return fmt.Errorf("sync %s: %w", dir, err)
		}
	}
	return nil
}

// errNoVersion is the error of a rollback without an earlier version.
var errNoVersion = errors.New("there is no version before this one")

// rollback returns to the version before the one in use, which becomes the oldest: as
// many rollbacks as there are versions change nothing.
func (s store) rollback(list string) error {
	last := 0
	for n := 1; n < maxVersions; n++ {
		if _, err := os.Stat(s.version(list, n)); err == nil {
			last = n
		}
	}
	if last == 0 {
		return errNoVersion
	}
	replaced := s.private("." + list + ".replaced")
	if err := linkOrCopy(s.content(list), replaced); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for n := 1; n <= last; n++ {
		to := s.content(list)
		if n > 1 {
			to = s.version(list, n-1)
		}
		s.before("back")
		if err := os.Rename(s.version(list, n), to); err != nil {
			return err
		}
	}
	s.before("rotate")
	if err := os.Rename(replaced, s.version(list, last)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return s.sync()
}

// countVersions returns how many versions before the one in use are stored.
func (s store) countVersions(list string) int {
	n := 0
	for n+1 < maxVersions {
		if _, err := os.Stat(s.version(list, n+1)); err != nil {
			break
		}
		n++
	}
	return n
}

// sumFile returns the SHA-256 of a file in hex.
func sumFile(file string) (string, error) {
	f, err := statefile.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}
