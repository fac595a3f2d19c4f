package lists

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestHalfWritten: a file that is overwritten in place is empty first, and incomplete for a
// while, which is less than Rest. No name of the list is lost meanwhile.
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
		for end := time.Now().Add(100 * time.Millisecond); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
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
			if changed, errs, _ := l.reload(DefaultRest, false); changed != want || len(errs) > 0 {
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

// Guarantee 8: fails safe.
// A file that has lost most of its rules, or all, is not used by itself, neither while the
// process runs nor by the next one; a reload uses it, and what a user edits by hand is free.
func TestFileThatShrinks(t *testing.T) {
	const page = "<!doctype html>\n<body>\nlogin\nportal\n"
	for _, c := range []struct {
		name, before, after, why string
	}{
		{"page", "a.example\nb.example\n", page, "it is a web page, not a list"},
		{"page of many", lines(100, "n%d.example"), page, "it is a web page, not a list"},
		{"words", lines(100, "n%d.example"), "login\nportal\n", "it has shrunk: it has 2 entries where there were 100, above max_shrink 40%: `nameroute reload` uses it all the same"},
		{"above", lines(100, "n%d.example"), lines(59, "n%d.example"), "it has 59 entries where there were 100"},
		{"at", lines(100, "n%d.example"), lines(60, "n%d.example"), ""},
		{"few above", lines(20, "n%d.example"), lines(11, "n%d.example"), "it has 11 entries where there were 20"},
		{"few", lines(19, "n%d.example"), "n1.example\n", ""},
		{"empty", "a.example\n", "", "it has 0 entries where there was 1"},
		{"comments", "a.example\n", "# a.example\n", "it has 0 entries"},
		{"prefixes", lines(30, "192.0.2.%d"), "192.0.2.1\n", "it has 1 entries where there were 30"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.why = strings.Replace(c.why, "there was 1", "there were 1", 1)
			cfg := lists(t.TempDir(), "a")
			cfg[0].Keep = 60
			state := filepath.Join(t.TempDir(), "state")
			o := Options{Cache: state, LastGood: state}
			write(t, cfg[0].File, c.before)
			l, errs := Open(cfg, o)
			wantErrors(t, errs)
			before := l.Reports()[0].Size()
			want := func(l *Library, errs []error) {
				t.Helper()
				switch {
				case c.why == "" && (len(errs) > 0 || l.Reports()[0].Size() >= before):
					t.Errorf("%v, %d rules", errs, l.Reports()[0].Size())
				case c.why != "" && (len(errs) != 1 || !strings.Contains(errs[0].Error(), c.why) || l.Reports()[0].Size() != before):
					t.Errorf("%v, %d rules, want %s", errs, l.Reports()[0].Size(), c.why)
				}
			}
			write(t, cfg[0].File, c.after)
			l.reload(time.Nanosecond, false) // it must stay so for a moment
			time.Sleep(time.Microsecond)
			_, errs, _ = l.reload(time.Nanosecond, false)
			want(l, errs)
			for range 2 {
				next, errs := Open(cfg, o)
				want(next, errs)
			}
			l.holdings[0].sig.young = false // as it is after clockGrain
			_, errs = l.SetLists(cfg)
			if isPage := c.after == page; isPage != (len(errs) > 0) || !isPage && l.Reports()[0].Size() >= before {
				t.Errorf("reload: %v, %d rules", errs, l.Reports()[0].Size())
			}
		})
	}
}
