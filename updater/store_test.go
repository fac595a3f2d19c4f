package updater

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nameroute/nameroute/test/netlab"
)

// put installs text as an update does.
func put(t *testing.T, s store, text string) {
	t.Helper()
	unlock, err := s.lock(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	if err := copyTo(s.incoming("l"), strings.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	if err := s.install("l"); err != nil {
		t.Fatal(err)
	}
}

// stored returns the content in use and those before it.
func stored(t *testing.T, s store) string {
	t.Helper()
	var all []string
	for n := range maxVersions {
		name := s.content("l")
		if n > 0 {
			name = s.version("l", n)
		}
		data, err := os.ReadFile(name)
		if err != nil {
			break
		}
		all = append(all, string(data))
	}
	return strings.Join(all, " ")
}

func TestStoreHasThreeVersions(t *testing.T) {
	s := newStore(t.TempDir())
	for i, want := range []string{"1", "2 1", "3 2 1", "4 3 2", "5 4 3"} {
		put(t, s, fmt.Sprint(i+1))
		if got := stored(t, s); got != want {
			t.Fatalf("stored are %s, want %s", got, want)
		}
	}
	for _, want := range []string{"4 3 5", "3 5 4", "5 4 3"} {
		if err := s.rollback("l"); err != nil {
			t.Fatal(err)
		}
		if got := stored(t, s); got != want {
			t.Fatalf("after a rollback: %s, want %s", got, want)
		}
	}
	info, err := os.Stat(s.content("l"))
	if err != nil || info.Mode() != 0o644 {
		t.Errorf("mode %v (%v)", info.Mode(), err)
	}
	if err := newStore(t.TempDir()).rollback("l"); err != errNoVersion {
		t.Errorf("rollback of nothing: %v", err)
	}
}

// crashDir names the state directory for the child of TestKilledStoreHasCompleteContent.
const crashDir = "UPDATER_CRASH_DIR"

// crash installs a version, rolls it back, and kills itself before the step that its
// environment names: with SIGKILL, like kill -9 or the OOM killer.
func crash(dir string) {
	s := newStore(dir)
	left := 0
	fmt.Sscan(os.Getenv("UPDATER_CRASH_STEP"), &left)
	s.step = func(string) {
		if left--; left < 0 {
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
			time.Sleep(time.Minute)
		}
	}
	unlock, err := s.lock(context.Background())
	if err == nil {
		err = copyTo(s.incoming("l"), strings.NewReader("new"))
	}
	if err == nil {
		s.before("received")
		err = s.install("l")
	}
	if err == nil {
		s.before("installed")
		err = s.rollback("l")
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	unlock()
}

// Wherever a store is killed, the content in use is complete, and the next store works as
// if nothing had happened.
func TestKilledStoreHasCompleteContent(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for step := 0; ; step++ {
		s := newStore(t.TempDir())
		for _, text := range []string{"a", "b", "c"} {
			put(t, s, text)
		}
		child := exec.Command(self)
		child.Env = append(os.Environ(), crashDir+"="+filepath.Dir(s.dir), fmt.Sprintf("UPDATER_CRASH_STEP=%d", step))
		out, err := child.CombinedOutput()
		if err == nil {
			if step < 8 {
				t.Fatalf("only %d steps were killed", step)
			}
			if got := stored(t, s); got != "c b new" {
				t.Errorf("not killed: %s", got)
			}
			return
		}
		if status, ok := child.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
			t.Fatalf("step %d: %v: %s", step, err, out)
		}
		now, err := os.ReadFile(s.content("l"))
		if err != nil || string(now) != "c" && string(now) != "new" {
			t.Fatalf("killed at step %d: content %q (%v)", step, now, err)
		}
		put(t, s, "next")
		after := stored(t, s)
		if !strings.HasPrefix(after, "next "+string(now)) {
			t.Errorf("killed at step %d with %s in use: afterwards stored: %s", step, now, after)
		}
		entries, err := filepath.Glob(s.private(".*"))
		if err != nil || len(entries) > 0 {
			t.Errorf("killed at step %d: left behind: %v", step, entries)
		}
	}
}

// A lock ends with its holder, and waiting for it ends with the context.
func TestLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t.TempDir())
		unlock, err := s.lock(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		began := time.Now()
		if _, err := s.lock(ctx); err == nil || !strings.Contains(err.Error(), "another process holds the lock") {
			t.Errorf("a second lock: %v", err)
		}
		if took := time.Since(began); took != time.Minute {
			t.Errorf("waited %v, want a minute", took)
		}
		unlock()
		again, err := s.lock(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		again()
	})
}

// A full disk costs nothing but freshness, and no partial file is left to fill it.
func TestFullDiskKeepsTheContent(t *testing.T) {
	netlab.Need(t)
	state := t.TempDir()
	if err := unix.Mount("tmpfs", state, "tmpfs", 0, "size=256k"); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(state, unix.MNT_DETACH)
	s := newSite(t)
	b := openBox(t, state, s.URL)
	s.answer(file(list(100, "example")))
	b.update(Updated, "")
	s.answer(file(list(40000, "example")))
	b.update(Failed, "no space left on device")
	b.holds(list(100, "example"))
	b.clean()

	// Not a byte is free: not even the error can be stored.
	filler := filepath.Join(state, "filler")
	if err := os.WriteFile(filler, make([]byte, 1<<20), 0o600); err == nil {
		t.Fatal("the disk is not full")
	}
	if r := b.update(Failed, "no space left on device"); r.SaveErr == nil {
		t.Error("the result does not tell that nothing could be stored")
	}
	if !strings.Contains(b.log.String(), "save metadata") {
		t.Errorf("the log does not say so:\n%s", b.log)
	}
	if at := b.dueLocked(b.config.Sources[0], meta{}); !at.After(time.Now()) {
		t.Error("it would be tried again without a pause")
	}
	data, err := os.ReadFile(b.store.content("l"))
	if err != nil || string(data) != list(100, "example") {
		t.Fatalf("content %.40q (%v)", data, err)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	s.answer(file(list(101, "example")))
	b.update(Updated, "")
	b.holds(list(101, "example"))
	b.clean()
}
