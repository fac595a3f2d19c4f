package lists

import (
	"os"
	"testing"
	"time"
)

// testRest is how long the lists of these tests must have stayed smaller.
const testRest = 400 * time.Millisecond

// A file that is written in its place is empty first, and half for a while: no name of
// the list is lost meanwhile.
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

// A list that has become smaller and stays so is taken up, without a further notice;
// one that is as it was is left in peace; and whoever asks for a reload gets it at once.
func TestSmaller(t *testing.T) {
	cfg := lists(t.TempDir(), "a")
	file := cfg[0].File
	write(t, file, "one.test\ntwo.test\n")
	w := watch(t, cfg)
	w.becomes(t, "two.test", "a")

	began := time.Now()
	write(t, file, "one.test\n")
	w.becomes(t, "two.test", "")
	if took := time.Since(began); took < testRest {
		t.Errorf("taken up after %v, want %v at least", took, testRest)
	}

	write(t, file, "")
	write(t, file, "one.test\n") // as it was
	time.Sleep(2 * testRest)
	wantHeld(t, w.Library, "one.test", "a")
	w.mu.Lock()
	if w.holding[0].smaller.waits() {
		t.Error("the list waits for ever")
	}
	w.mu.Unlock()

	write(t, file, "")
	if _, errs := w.Reload(); len(errs) > 0 {
		t.Fatal(errs)
	}
	wantHeld(t, w.Library, "one.test", "")
}
