package updater

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestShippedCopyIsUsedUntilTheFirstFetch(t *testing.T) {
	s := newSite(t)
	state := t.TempDir()
	b := openBox(t, state, s.URL)
	b.holds("")
	if !strings.Contains(b.log.String(), "list has no content yet") {
		t.Errorf("nothing is said of a list without content:\n%s", b.log)
	}
	if st := ReadStatus(b.config, state); len(st.Lists) != 1 || !st.Lists[0].Missing {
		t.Errorf("status %+v", st)
	}
	shipped := filepath.Join(state, "shipped", "l")
	if err := os.MkdirAll(filepath.Dir(shipped), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(shipped, []byte(list(9, "example")), 0o600); err != nil {
		t.Fatal(err)
	}
	b = openBox(t, state, s.URL)
	b.holds(list(9, "example"))
	if st, ok := b.Status().List("l"); !ok || st.Missing || !st.Shipped || st.Rules != 9 {
		t.Errorf("status %+v", st)
	}
	// It counts as content: what is fetched may not be much smaller.
	s.answer(file(list(2, "example")))
	b.update(Refused, "it has 2 entries where there were 9")
	b.holds(list(9, "example"))
	s.answer(file(list(8, "example")))
	b.update(Updated, "")
	b.holds(list(8, "example"))
	if b.meta().Shipped {
		t.Error("it still counts as shipped")
	}
	// A start keeps what was fetched, and a bad shipped copy is not used.
	openBox(t, state, s.URL).holds(list(8, "example"))
	if err := os.WriteFile(shipped, []byte("<html>"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(b.store.content("l")); err != nil {
		t.Fatal(err)
	}
	b = openBox(t, state, s.URL)
	b.holds("")
	b.clean()
	if !strings.Contains(b.log.String(), "it is a web page, not a list") {
		t.Errorf("log:\n%s", b.log)
	}
}
