package updater

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

func TestServerErrorsKeepTheContent(t *testing.T) {
	s := newSite(t)
	b := newBox(t, s.URL)
	s.answer(file(list(3, "example")))
	b.update(Updated, "")
	for _, code := range []int{400, 401, 403, 404, 410, 429, 500, 502, 503, 204, 206} {
		s.answer(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) })
		b.update(Failed, fmt.Sprintf("%s: the server answered %d %s", s.URL, code, http.StatusText(code)))
	}
	s.Close()
	b.update(Failed, "connect: connection refused")
	b.holds(list(3, "example"))
	if m := b.meta(); m.Failures != 12 || !strings.Contains(m.Error, "connection refused") {
		t.Errorf("remembered: %d failures, %s", m.Failures, m.Error)
	}
	b.clean()
}

func TestMirrorsAreTriedInOrder(t *testing.T) {
	first, second := newSite(t), newSite(t)
	b := newBox(t, fmt.Sprintf("[%s/a, %s/b]", first.URL, second.URL))
	first.answer(file(list(3, "example")))
	b.update(Updated, "")
	if len(second.requests()) > 0 {
		t.Error("the second mirror got a request although the first has the list")
	}
	// The validators of one server are not sent to another.
	first.answer(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) })
	second.answer(file(list(4, "example")))
	b.update(Updated, "")
	if q := second.requests(); q[0].Header.Get("If-None-Match") != "" {
		t.Errorf("the second mirror was asked for %s", q[0].Header.Get("If-None-Match"))
	}
	b.holds(list(4, "example"))
	// Useless content of one mirror does not keep the next one from being tried.
	first.answer(file("<!DOCTYPE html><title>Please log in</title>"))
	second.answer(file(list(5, "example")))
	b.update(Updated, "")
	b.holds(list(5, "example"))
	second.answer(file("<html>\n"))
	r := b.update(Refused, "it is a web page, not a list")
	if n := strings.Count(r.Err.Error(), "web page"); n != 2 {
		t.Errorf("the error names %d mirrors: %v", n, r.Err)
	}
}
