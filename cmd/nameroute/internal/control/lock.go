package control

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/exit"
	"github.com/nameroute/nameroute/gateway/pkg/statefile"
)

// Lock is held for as long as a part runs. The kernel releases it when the process
// ends, however it ends.
type Lock struct{ f *os.File }

// TakeLock takes the lock of a part. Where another process holds it, the error says
// which one and carries exit.Running.
func TakeLock(dir string, p Part) (*Lock, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make the run directory: %w", err)
	}
	name := lockName(dir, p)
	if _, err := statefile.Displace(name); err != nil {
		return nil, fmt.Errorf("open the lock: %w", err)
	}
	f, err := statefile.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open the lock: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		holder := readHolder(name)
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) && p == Update {
			return nil, exit.With(exit.Running, fmt.Errorf("another process fetches the lists already%s: `nameroute update` fetches now, beside it; SIGHUP makes it reload its files", holder))
		}
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, exit.With(exit.Running, fmt.Errorf("another nameroute is already running%s: `nameroute reload` reloads its files, `nameroute down` stops it and removes everything that it made", holder))
		}
		return nil, fmt.Errorf("lock %s: %w", name, err)
	}
	if err := f.Truncate(0); err != nil {
		return nil, errors.Join(fmt.Errorf("write the lock: %w", err), f.Close())
	}
	if _, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0); err != nil {
		return nil, errors.Join(fmt.Errorf("write the lock: %w", err), f.Close())
	}
	return &Lock{f}, nil
}

// Lost reports whether the lock's file is no longer the one in the run directory, which
// something has emptied: another process could take the lock, too.
func (l *Lock) Lost() bool {
	mine, err := l.f.Stat()
	if err != nil {
		return true
	}
	there, err := os.Lstat(l.f.Name())
	return err != nil || !os.SameFile(mine, there)
}

// Release releases the lock. The file stays: if it were removed, two processes could
// lock two files.
func (l *Lock) Release() error { return l.f.Close() }

func lockName(dir string, p Part) string { return filepath.Join(dir, string(p)+".lock") }

// AwaitLock takes the lock of a part that is about to end.
func AwaitLock(ctx context.Context, dir string, p Part, limit time.Duration) (*Lock, error) {
	for end := time.Now().Add(limit); ; {
		l, err := TakeLock(dir, p)
		if exit.Code(err) != exit.Running || time.Now().After(end) {
			return l, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// AnyRuns reports whether the resolver or the sidecar runs now.
func AnyRuns(dir string) bool {
	for _, p := range []Part{DNS, Gateway} {
		f, err := statefile.Open(lockName(dir, p))
		if err != nil {
			continue
		}
		err = unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB)
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return true
		}
	}
	return false
}

// readHolder describes the process that wrote a lock file, or "".
func readHolder(name string) string {
	b, err := statefile.ReadFile(name)
	pid := strings.TrimSpace(string(b))
	if err != nil || pid == "" {
		return ""
	}
	if cmd := CommandLine(pid); cmd != "" {
		return fmt.Sprintf(" (process %s: %s)", pid, cmd)
	}
	return fmt.Sprintf(" (process %s)", pid)
}

// CommandLine returns the command line of a process, or "" where there is none to see.
func CommandLine(pid string) string {
	b, err := statefile.ReadFile(filepath.Join("/proc", pid, "cmdline"))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(strings.ReplaceAll(string(b), "\x00", " "))
}
