package statefile

import (
	"errors"
	"io"
	"io/fs"
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
	for _, other := range []string{dir, pipe} {
		if _, err := Open(other); err == nil || !strings.Contains(err.Error(), "not a regular file") {
			t.Errorf("%s: %v", other, err)
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
