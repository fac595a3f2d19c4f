package statefile

import (
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "state")
	if _, err := Open(file); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
	if err := os.WriteFile(file, []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if got, err := io.ReadAll(f); err != nil || string(got) != "content" {
		t.Errorf("%q, %v", got, err)
	}
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(pipe, link); err != nil {
		t.Fatal(err)
	}
	for _, other := range []string{dir, pipe, link, socket(t, dir), "/dev/zero"} {
		for _, flag := range []int{os.O_RDONLY, os.O_WRONLY | os.O_APPEND, os.O_RDWR | os.O_CREATE, os.O_WRONLY | os.O_TRUNC} {
			if _, err := OpenFile(other, flag, 0o600); !errors.Is(err, ErrNotRegular) {
				t.Errorf("%s, flags %#x: %v", other, flag, err)
			}
		}
		if _, err := ReadFile(other); !errors.Is(err, ErrNotRegular) {
			t.Errorf("%s: %v", other, err)
		}
	}
	if got, err := ReadFile("/proc/self/comm"); err != nil || len(got) == 0 {
		t.Errorf("a file of the kernel: %q, %v", got, err)
	}
}

func socket(t *testing.T, dir string) string {
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return filepath.Join(dir, "s")
}

// TestReadFileIsBounded: a sparse file takes no room on disk and much in memory.
func TestReadFileIsBounded(t *testing.T) {
	file := filepath.Join(t.TempDir(), "f")
	for size, fits := range map[int64]bool{MaxText - 1: true, MaxText: true, MaxText + 1: false, 1 << 40: false} {
		if err := errors.Join(os.WriteFile(file, nil, 0o600), os.Truncate(file, size)); err != nil {
			t.Fatal(err)
		}
		if got, err := ReadFile(file); (err == nil) != fits || fits && int64(len(got)) != size {
			t.Errorf("%d bytes: %d, %v", size, len(got), err)
		}
	}
}

// TestReplaceWhatIsNoFile: whatever has the name of a state file is set aside, also when that
// was done before.
func TestReplaceWhatIsNoFile(t *testing.T) {
	for name, make := range map[string]func(file string) error{
		"directory":       func(file string) error { return os.MkdirAll(filepath.Join(file, "sub"), 0o700) },
		"pipe":            func(file string) error { return syscall.Mkfifo(file, 0o600) },
		"link to nothing": func(file string) error { return os.Symlink(file+".gone", file) },
		"link to a pipe": func(file string) error {
			return errors.Join(syscall.Mkfifo(file+".pipe", 0o600), os.Symlink(file+".pipe", file))
		},
	} {
		file := filepath.Join(t.TempDir(), "state")
		for i := range 3 {
			os.Remove(file)
			os.Remove(file + ".pipe")
			if err := make(file); err != nil {
				t.Fatal(err)
			}
			err := Replace(file, 0o600, func(w io.Writer) error { _, err := io.WriteString(w, "new"); return err })
			got, readErr := os.ReadFile(file)
			if err != nil || readErr != nil || string(got) != "new" {
				t.Errorf("%s, time %d: %q, %v, %v", name, i+1, got, err, readErr)
			}
			if _, err := os.Lstat(file + BadSuffix); err != nil {
				t.Errorf("%s is not set aside: %v", name, err)
			}
		}
	}
}

func TestDamagedFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "state")
	if err := os.Mkdir(file, 0o700); err != nil {
		t.Fatal(err)
	}
	renamed, err := SetAside(file)
	if err != nil || renamed != file+".bad" {
		t.Fatalf("%q, %v", renamed, err)
	}
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the place is not free: %v", err)
	}
	if _, err := SetAside(file); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
}

func TestReplace(t *testing.T) {
	file := filepath.Join(t.TempDir(), "new", "state")
	put := func(text string, err error) error {
		return Replace(file, 0o600, func(w io.Writer) error {
			_, werr := io.WriteString(w, text)
			return errors.Join(werr, err)
		})
	}
	if err := put("one", nil); err != nil {
		t.Fatal(err)
	}
	refused := errors.New("refused")
	if err := put("two", refused); !errors.Is(err, refused) || !strings.Contains(err.Error(), file) {
		t.Errorf("error %v", err)
	}
	if got, err := os.ReadFile(file); err != nil || string(got) != "one" {
		t.Errorf("after a refused write: %q, %v", got, err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("permissions %v, %v", info.Mode(), err)
	}
	if entries, err := os.ReadDir(filepath.Dir(file)); err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

// TestRemovePending: also in a directory whose name has letters that mean something in a
// pattern.
func TestRemovePending(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state[a]")
	file := filepath.Join(dir, "names")
	if err := RemovePending(file); err != nil {
		t.Errorf("without a directory: %v", err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	kept := []string{"names", ".names", ".names.bad", ".other1234", ".names12x"}
	for _, n := range append(kept, ".names123", ".names9") {
		if err := os.WriteFile(filepath.Join(dir, n), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := RemovePending(file); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != len(kept) {
		t.Errorf("%v are left, want %v (%v)", entries, kept, err)
	}
}
