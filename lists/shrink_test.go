package lists

import (
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// testRest is Options.Rest of libraries that watch.
const testRest = 400 * time.Millisecond

// TestHalfWritten: a file that is overwritten in place is empty first, and incomplete for a
// while. No name of the list is lost meanwhile.
func TestHalfWritten(t *testing.T) {
	cfg := lists(t.TempDir(), "a")
	file := cfg[0].File
	write(t, file, "one.test\ntwo.test\nthree.test\n192.0.2.0/24\n")
	w := watch(t, cfg)
	w.becomes(t, "three.test", "a")

	f, err := os.Create(file) // as cp, curl -o and sftp do
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, line := range []string{"four.test\n", "one.test\n", "two.test\n"} {
		for end := time.Now().Add(testRest / 2); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
			wantHeld(t, w.Library, "three.test", "a")
		}
		if _, err := f.WriteString(line); err != nil {
			t.Fatal(err)
		}
	}
	wantHeld(t, w.Library, "four.test", "")
	if _, err := f.WriteString("192.0.2.0/24\n"); err != nil { // as many as before: at once
		t.Fatal(err)
	}
	w.becomes(t, "four.test", "a")
	wantHeld(t, w.Library, "three.test", "")
	if n := w.swaps.Load(); n > 1 {
		t.Errorf("swapped %d times, want once", n)
	}
}

// TestShrink: a list that became smaller and stays so is used after Rest without another
// notice, one that is as before is not read for ever, and a requested reload uses it at once.
func TestShrink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := lists(t.TempDir(), "a")
		file := cfg[0].File
		write(t, file, "one.test\ntwo.test\n")
		l, errs := Open(cfg, Options{})
		wantErrors(t, errs)
		<-l.recheck // of Open
		check := func(want bool) {
			t.Helper()
			if changed, errs, _ := l.reload(DefaultRest); changed != want || len(errs) > 0 {
				t.Fatalf("changed %v, want %v, %v", changed, want, errs)
			}
		}
		write(t, file, "one.test\n")
		check(false)
		time.Sleep(DefaultRest / 2)
		check(false)
		wantHeld(t, l, "two.test", "a")
		if len(l.recheck) > 0 {
			t.Error("a check was requested too early")
		}
		time.Sleep(DefaultRest)
		synctest.Wait()
		<-l.recheck
		check(true)
		wantHeld(t, l, "two.test", "")

		write(t, file, "")
		check(false)
		write(t, file, "one.test\n") // as before
		check(false)
		if l.holdings[0].shrink.pending() {
			t.Error("smaller content is pending")
		}

		write(t, file, "")
		if changed, errs := l.Reload(); !changed || len(errs) > 0 {
			t.Fatal(changed, errs)
		}
		wantHeld(t, l, "one.test", "")
		time.Sleep(DefaultRest) // the timers end
	})
}
