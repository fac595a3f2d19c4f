package lists

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/lists/format/ruleset/rulesettest"
)

// TestSelectionIsKept: a list that is a selection is rebuilt only when the selection changes,
// and its last good copy is the selection.
func TestSelectionIsKept(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "geosite.dat")
	copies := filepath.Join(dir, "copies")
	write(t, file, rulesettest.Geosite())
	cfg := []gateway.List{{Name: "n", File: file + ":netflix"}}
	l, errs := Open(cfg, Options{LastGood: copies})
	wantErrors(t, errs)
	wantHeld(t, l, "www.netflix.com", "n")
	wantHeld(t, l, "google.com", "")
	copied, err := os.ReadFile(filepath.Join(copies, "n.list"))
	if want := "domain:netflix.com\nfull:only.netflix.net\nkeyword:nflx\nregexp:^fast\\d\\.com$\n"; err != nil || string(copied) != want {
		t.Fatalf("copy: %q, %v", copied, err)
	}
	write(t, file, rulesettest.Geosite()+string(rulesettest.Dat("MORE", rulesettest.Domain(2, "more.test"))))
	if changed, errs := l.Reload(); changed || len(errs) > 0 {
		t.Errorf("another category changed: %v, %v", changed, errs)
	}
	write(t, file, string(rulesettest.Dat("NETFLIX", rulesettest.Domain(2, "new.test"))))
	if changed, errs := l.Reload(); !changed || len(errs) > 0 {
		t.Errorf("the category changed: %v, %v", changed, errs)
	}
	wantHeld(t, l, "new.test", "n")
	write(t, file, "\x0a\x05")
	l, errs = Open(cfg, Options{LastGood: copies})
	if len(errs) != 1 {
		t.Errorf("a damaged file: %v", errs)
	}
	wantHeld(t, l, "new.test", "n")
	if r := l.Reports()[0]; !r.LastGood || r.File != cfg[0].File {
		t.Errorf("report: %+v", r)
	}
}
