package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/exit"
)

// part is one of the processes that nameroute can run as.
type part string

const (
	partDNS     part = "dns"
	partGateway part = "gateway"
)

// lock is held for as long as a part runs. The kernel lets go of it when the process
// ends, however it ends.
type lock struct{ f *os.File }

// takeLock takes the lock of a part. Where another process holds it, the error says
// which one and carries exit.Running.
func takeLock(dir string, p part) (*lock, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make the run directory: %w", err)
	}
	name := filepath.Join(dir, string(p)+".lock")
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open the lock: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		holder := readHolder(name)
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, exit.With(exit.Running, fmt.Errorf("another nameroute runs already%s: `nameroute reload` has it read its files again, `nameroute down` ends it", holder))
		}
		return nil, fmt.Errorf("lock %s: %w", name, err)
	}
	if err := f.Truncate(0); err != nil {
		return nil, errors.Join(fmt.Errorf("write the lock: %w", err), f.Close())
	}
	if _, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0); err != nil {
		return nil, errors.Join(fmt.Errorf("write the lock: %w", err), f.Close())
	}
	return &lock{f}, nil
}

// release lets go. The file stays: removing it would let two processes lock two files.
func (l *lock) release() error { return l.f.Close() }

// readHolder describes the process that wrote a lock file, or "".
func readHolder(name string) string {
	b, err := os.ReadFile(name)
	pid := strings.TrimSpace(string(b))
	if err != nil || pid == "" {
		return ""
	}
	if cmd := commandLine(pid); cmd != "" {
		return fmt.Sprintf(" (process %s: %s)", pid, cmd)
	}
	return fmt.Sprintf(" (process %s)", pid)
}

// commandLine is the command line of a process, or "" where there is none to see.
func commandLine(pid string) string {
	b, err := os.ReadFile(filepath.Join("/proc", pid, "cmdline"))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(strings.ReplaceAll(string(b), "\x00", " "))
}
