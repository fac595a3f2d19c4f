package updater

import (
	"context"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
)

func TestUnchangedListIsNotSentAgain(t *testing.T) {
	s := newSite(t)
	b := newBox(t, s.URL+"/list.txt?token=secret")
	b.holds("")
	s.answer(file(list(3, "example")))
	r := b.update(Updated, "")
	b.holds(list(3, "example"))
	if r.Before != 0 || r.Report.Suffix != 3 || r.URL != s.URL+"/list.txt?token=secret" {
		t.Errorf("result %+v", r)
	}
	if got := s.requests()[0].UserAgent(); got != "nameroute" {
		t.Errorf("User-Agent %q", got)
	}
	first := b.meta()

	s.answer(file(list(3, "example")))
	b.update(Unchanged, "")
	if q := s.requests(); len(q) != 1 || q[0].Header.Get("If-None-Match") != first.ETag || first.ETag == "" {
		t.Errorf("asked %d times, last for %q, want %q", len(q), q[0].Header.Get("If-None-Match"), first.ETag)
	}
	if m := b.meta(); !m.Checked.After(first.Checked) || !m.Fetched.Equal(first.Fetched) || m.ETag != first.ETag {
		t.Errorf("stored %+v, before %+v", m, first)
	}

	s.answer(file(list(4, "example")))
	b.update(Updated, "")
	b.holds(list(4, "example"))
	if b.store.countVersions("l") != 1 {
		t.Errorf("%d versions are kept, want 1", b.store.countVersions("l"))
	}
	b.clean()
	if strings.Contains(b.log.String(), "secret") {
		t.Errorf("a token is in the log:\n%s", b.log)
	}
}

// The same content is no update, even from a server without validators.
func TestSameContentIsNoNewVersion(t *testing.T) {
	s := newSite(t)
	b := newBox(t, s.URL)
	s.answer(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, list(3, "example")) })
	b.update(Updated, "")
	b.update(Unchanged, "")
	b.holds(list(3, "example"))
	if b.store.countVersions("l") != 0 {
		t.Error("the same content is kept as another version")
	}
	b.clean()
}

// A 304 to a request without a condition is an error.
func TestUnexpectedNotModifiedFails(t *testing.T) {
	s := newSite(t)
	b := newBox(t, s.URL)
	s.answer(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotModified) })
	b.update(Failed, "the server answered 304 Not Modified")
	b.holds("")
}

// Content that was changed by hand or by a crash is fetched without a condition.
func TestContentChangedByHandIsFetchedInFull(t *testing.T) {
	s := newSite(t)
	b := newBox(t, s.URL)
	s.answer(file(list(3, "example")))
	b.update(Updated, "")
	if err := os.WriteFile(b.store.content("l"), []byte("other.example\nanother.example\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.answer(file(list(3, "example")))
	r := b.update(Updated, "")
	if r.Before != 2 || s.requests()[0].Header.Get("If-None-Match") != "" {
		t.Errorf("before %d, asked for %q", r.Before, s.requests()[0].Header.Get("If-None-Match"))
	}
	b.holds(list(3, "example"))
}

func TestUpdateOfUnknownList(t *testing.T) {
	b := newBox(t, "http://192.0.2.1/")
	if _, err := b.Update(context.Background(), []string{"m"}, Flags{}); err == nil || err.Error() != `list "m": gateway.yaml has no list of this name with url` {
		t.Errorf("%v", err)
	}
}
