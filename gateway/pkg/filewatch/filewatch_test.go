package filewatch

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// never is a poll interval that no test lasts for.
const never = time.Hour

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// must fails the test on an error.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// follow runs a watcher over one file. Each check reads it and calls seen with its content,
// "" where it is missing.
func follow(t *testing.T, o Options, file string, seen func(text string)) {
	t.Helper()
	o.Files = func() []string { return []string{file} }
	o.Warn = func(err error) { t.Errorf("warned: %v", err) }
	if o.Poll == 0 {
		o.Poll = never
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		Run(ctx, o, func() {
			text, err := os.ReadFile(file)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Error(err)
			}
			seen(string(text))
		})
	}()
	t.Cleanup(func() { cancel(); <-done })
}

// awaited returns a function that waits until a check has read a text, and what seen of
// follow is to be.
func awaited(t *testing.T) (await, seen func(text string)) {
	texts := make(chan string, 100)
	await = func(want string) {
		t.Helper()
		limit := time.After(time.Minute)
		for last := "nothing"; ; {
			select {
			case last = <-texts:
				if last == want {
					return
				}
			case <-limit:
				t.Fatalf("the last check read %q, want %q", last, want)
			}
		}
	}
	return await, func(text string) { texts <- text }
}

func TestChanges(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "etc")
	file := filepath.Join(dir, "a")
	must(t, os.Mkdir(dir, 0o755))
	write(t, file, "start")
	await, seen := awaited(t)
	follow(t, Options{Settle: 5 * time.Millisecond}, file, seen)
	await("start")
	for _, step := range []struct {
		name string
		do   func()
		want string
	}{
		{"written in place", func() { write(t, file, "one") }, "one"},
		{"replaced", func() {
			write(t, file+".tmp", "two")
			must(t, os.Rename(file+".tmp", file))
		}, "two"},
		{"saved as vim does", func() {
			must(t, os.Rename(file, file+"~"))
			write(t, file, "three")
		}, "three"},
		{"deleted", func() { must(t, os.Remove(file)) }, ""},
		{"created", func() { write(t, file, "four") }, "four"},
		{"its directory deleted", func() { must(t, os.RemoveAll(dir)) }, ""},
		{"and created", func() {
			must(t, os.Mkdir(dir, 0o755))
			write(t, file, "five")
		}, "five"},
		{"its directory replaced at once", func() { // often by one with the same inode number
			must(t, os.RemoveAll(dir))
			must(t, os.Mkdir(dir, 0o755))
			write(t, file, "six")
		}, "six"},
		{"and written", func() { write(t, file, "seven") }, "seven"},
		{"its directory renamed", func() { must(t, os.Rename(dir, dir+".old")) }, ""},
		{"and renamed back", func() { must(t, os.Rename(dir+".old", dir)) }, "seven"},
		{"and written", func() { write(t, file, "eight") }, "eight"},
		{"its directory renamed there and back at once", func() {
			must(t, os.Rename(dir, dir+".old"))
			must(t, os.Rename(dir+".old", dir))
			write(t, file, "nine")
		}, "nine"},
		{"and written", func() { write(t, file, "ten") }, "ten"},
	} {
		t.Log(step.name)
		step.do()
		await(step.want)
	}
}

// TestFirstChange changes the file right after the first check has read it.
func TestFirstChange(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a")
	write(t, file, "start")
	await, seen := awaited(t)
	first := true
	follow(t, Options{Settle: time.Millisecond}, file, func(text string) {
		if first {
			first = false
			write(t, file, "changed")
		}
		seen(text)
	})
	await("changed")
}

// TestChangeDuringCheck renames the directory away and back while a check runs: the events
// come before the next check, and the watch is lost by then.
func TestChangeDuringCheck(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "etc")
	file := filepath.Join(dir, "a")
	must(t, os.Mkdir(dir, 0o755))
	write(t, file, "start")
	await, seen := awaited(t)
	follow(t, Options{Settle: time.Millisecond}, file, func(text string) {
		if text == "start" {
			must(t, os.Rename(dir, dir+".old"))
			must(t, os.Rename(dir+".old", dir))
			write(t, file, "one")
		}
		seen(text)
	})
	await("one")
	write(t, file, "two")
	await("two")
}

// TestLinks swaps as Kubernetes does: file → ..data/file, ..data → a directory, and ..data
// is replaced by rename.
func TestLinks(t *testing.T) {
	root, elsewhere := t.TempDir(), t.TempDir()
	mount := func(name, text string) {
		t.Helper()
		must(t, os.Mkdir(filepath.Join(root, name), 0o755))
		write(t, filepath.Join(root, name, "a"), text)
		must(t, os.Symlink(name, filepath.Join(root, "..data_tmp")))
		must(t, os.Rename(filepath.Join(root, "..data_tmp"), filepath.Join(root, "..data")))
	}
	mount("..one", "one")
	must(t, os.Symlink("..data/a", filepath.Join(root, "a")))
	must(t, os.Symlink(filepath.Join(root, "a"), filepath.Join(elsewhere, "a"))) // a user's link into the mount
	await, seen := awaited(t)
	follow(t, Options{Settle: 5 * time.Millisecond}, filepath.Join(elsewhere, "a"), seen)
	await("one")
	mount("..two", "two")
	await("two")
	must(t, os.RemoveAll(filepath.Join(root, "..one")))
	mount("..three", "three")
	await("three")
	write(t, filepath.Join(root, "..three", "a"), "four")
	await("four")
}

// fakeWatcher calls before for a directory that is about to be watched.
type fakeWatcher struct {
	before func(dir string) error
	dirs   []string
}

func (w *fakeWatcher) Add(dir string) error {
	if err := w.before(dir); err != nil {
		return err
	}
	if !slices.Contains(w.dirs, dir) {
		w.dirs = append(w.dirs, dir)
	}
	return nil
}

func (w *fakeWatcher) Remove(dir string) error {
	w.dirs = slices.DeleteFunc(w.dirs, func(d string) bool { return d == dir })
	return nil
}

// TestDirectoryAppearsMeanwhile creates the directories between the moment when they are
// found missing and the moment when the one above them is watched: no event tells of them.
func TestDirectoryAppearsMeanwhile(t *testing.T) {
	root := t.TempDir()
	one, two := filepath.Join(root, "one"), filepath.Join(root, "one", "two")
	w := &fakeWatcher{before: func(dir string) error {
		switch dir {
		case root:
			must(t, os.MkdirAll(one, 0o755))
		case one:
			must(t, os.MkdirAll(two, 0o755))
		}
		return nil
	}}
	if errs := newDirs(w).watch([]string{filepath.Join(two, "a")}); len(errs) > 0 {
		t.Fatal(errs)
	}
	if want := []string{two}; !slices.Equal(w.dirs, want) {
		t.Errorf("watched %q, want %q", w.dirs, want)
	}
}

func TestCannotBeWatched(t *testing.T) {
	dir := t.TempDir()
	full := errors.New("no space left on device")
	w := &fakeWatcher{before: func(string) error { return full }}
	d := newDirs(w)
	watch := func() []error { return d.watch([]string{filepath.Join(dir, "a"), filepath.Join(dir, "b")}) }
	if errs := watch(); len(errs) != 1 || errs[0].Error() != "watch "+dir+": no space left on device" {
		t.Errorf("errors %v", errs)
	}
	if errs := watch(); len(errs) > 0 {
		t.Errorf("returned again: %v", errs)
	}
	full = nil
	if errs := watch(); len(errs) > 0 || !slices.Equal(w.dirs, []string{dir}) {
		t.Errorf("errors %v, watched %q", errs, w.dirs)
	}
}

// TestTimes: without events, checks happen once, when asked for, and at each poll.
func TestTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		recheck := make(chan struct{})
		o := Options{Settle: time.Second, Poll: time.Minute, Recheck: recheck}
		checks := make(chan time.Duration, 10)
		go run(t.Context(), o, nil, nil, nil, func() { checks <- time.Since(start) })
		at := func(d time.Duration, want ...time.Duration) {
			t.Helper()
			time.Sleep(time.Until(start.Add(d)))
			synctest.Wait()
			var got []time.Duration
			for len(checks) > 0 {
				got = append(got, <-checks)
			}
			if !slices.Equal(got, want) {
				t.Errorf("after %v: checks at %v, want %v", d, got, want)
			}
		}
		at(0, 0)
		at(90*time.Second, time.Minute)
		recheck <- struct{}{}
		at(100*time.Second, 91*time.Second)
		at(150*time.Second, 2*time.Minute)
	})
}

// TestSettleIsBounded: events that never end delay a check, but not forever.
func TestSettleIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		recheck := make(chan struct{})
		o := Options{Settle: time.Second, Poll: never, Recheck: recheck}
		checks := make(chan time.Duration, 10)
		go run(t.Context(), o, nil, nil, nil, func() { checks <- time.Since(start) })
		if first := <-checks; first != 0 {
			t.Errorf("first check after %v", first)
		}
		for len(checks) == 0 && time.Since(start) < never/2 {
			recheck <- struct{}{}
			time.Sleep(time.Second / 2)
			synctest.Wait()
		}
		if second := <-checks; second != maxSettles*time.Second {
			t.Errorf("second check after %v, want %v", second, maxSettles*time.Second)
		}
	})
}
