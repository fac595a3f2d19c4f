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
)

// versions is how many contents of a list are kept, the one in use among them.
const versions = 3

// lockPause is between two tries for the lock.
const lockPause = 50 * time.Millisecond

// store is the files of all fetched lists:
//
//	NAME                    the content in use
//	.updater/NAME.json      its meta
//	.updater/NAME.1, .2     the contents before it, the newest first
//	.updater/NAME.part      a download that is not complete
//	.updater/new/NAME       a complete one that is not accepted yet
//	.updater/lock           held by whoever changes any of these
//
// Everything that is not the content in use lies one folder below, so that who
// watches the contents is not woken by it.
type store struct {
	dir  string
	step func(string) // for tests: called before each change on disk; may be nil
}

func newStore(state string) store { return store{dir: gateway.FetchedDir(state)} }

func (s store) work(name string) string           { return filepath.Join(s.dir, ".updater", name) }
func (s store) content(list string) string        { return filepath.Join(s.dir, list) }
func (s store) meta(list string) string           { return s.work(list + ".json") }
func (s store) part(list string) string           { return s.work(list + ".part") }
func (s store) version(list string, n int) string { return s.work(fmt.Sprintf("%s.%d", list, n)) }

// fresh has the base name of the content: formats may be told by it.
func (s store) fresh(list string) string { return filepath.Join(s.work("new"), list) }

func (s store) at(step string) {
	if s.step != nil {
		s.step(step)
	}
}

// lock makes the folders and waits until no other process changes them. What a
// process that was killed left half done is cleared away then.
func (s store) lock(ctx context.Context) (unlock func(), err error) {
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return nil, err
	}
	for _, dir := range []string{s.work(""), s.work("new")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
	}
	f, err := os.OpenFile(s.work("lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, s.tidy()
		}
		if err != unix.EWOULDBLOCK && err != unix.EINTR {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("wait for another updater: %w", ctx.Err())
		case <-time.After(lockPause):
		}
	}
}

// tidy removes the temporary files of a process that was killed.
func (s store) tidy() error {
	entries, err := os.ReadDir(s.work(""))
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") && e.Type().IsRegular() {
			errs = append(errs, os.Remove(s.work(e.Name())))
		}
	}
	return errors.Join(errs...)
}

// accept makes the fresh content the one in use and keeps those before it. Whenever
// it is cut short, the content in use is whole: the old one or the fresh one.
func (s store) accept(list string) error {
	if err := s.keepOld(list); err != nil {
		return fmt.Errorf("keep the version before: %w", err)
	}
	s.at("replace")
	if err := os.Rename(s.fresh(list), s.content(list)); err != nil {
		return err
	}
	s.at("sync")
	return s.sync()
}

// keepOld gives the content in use a second name among the versions before it.
func (s store) keepOld(list string) error {
	now, err := os.Stat(s.content(list))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if first, err := os.Stat(s.version(list, 1)); err == nil && os.SameFile(now, first) {
		return nil // an accept was cut short here
	}
	for n := versions - 1; n > 1; n-- {
		s.at("shift")
		if err := os.Rename(s.version(list, n-1), s.version(list, n)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	s.at("keep")
	return link(s.content(list), s.version(list, 1))
}

// link gives a file a second name, or copies it where the file system has no links.
func link(from, to string) error {
	err := os.Link(from, to)
	if err == nil || !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.EMLINK) {
		return err
	}
	in, err := os.Open(from)
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

// sync makes the names on disk as lasting as the contents.
func (s store) sync() error {
	for _, dir := range []string{s.work(""), s.dir} {
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

// errNoVersion is returned by a rollback of a list that has nothing to go back to.
var errNoVersion = errors.New("there is no version before this one")

// rollback makes the version before the one in use, which becomes the last: as many
// rollbacks as there are versions change nothing.
func (s store) rollback(list string) error {
	last := 0
	for n := 1; n < versions; n++ {
		if _, err := os.Stat(s.version(list, n)); err == nil {
			last = n
		}
	}
	if last == 0 {
		return errNoVersion
	}
	aside := s.work("." + list + ".aside")
	if err := link(s.content(list), aside); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for n := 1; n <= last; n++ {
		to := s.content(list)
		if n > 1 {
			to = s.version(list, n-1)
		}
		s.at("back")
		if err := os.Rename(s.version(list, n), to); err != nil {
			return err
		}
	}
	s.at("aside")
	if err := os.Rename(aside, s.version(list, last)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return s.sync()
}

// count is how many versions before the one in use are kept.
func (s store) count(list string) int {
	n := 0
	for n+1 < versions {
		if _, err := os.Stat(s.version(list, n+1)); err != nil {
			break
		}
		n++
	}
	return n
}

// sumFile is the SHA-256 of a file in hex.
func sumFile(file string) (string, error) {
	f, err := os.Open(file)
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
