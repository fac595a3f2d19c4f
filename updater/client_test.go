package updater

import (
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestUntrustedServerGetsNoRequest(t *testing.T) {
	s := secure(t, nil)
	s.answer(file(list(3, "example")))
	b := newBox(t, s.URL)
	b.update(Failed, "certificate signed by unknown authority")
	if len(s.requests()) > 0 {
		t.Error("a server that is not trusted was asked")
	}
	b.roots = x509.NewCertPool()
	b.roots.AddCert(s.Certificate())
	b.update(Updated, "")
	b.holds(list(3, "example"))
	if v := s.requests()[0].ProtoMajor; v != 1 && v != 2 {
		t.Errorf("HTTP/%d", v)
	}
}

func TestRedirectsAreBounded(t *testing.T) {
	plain := newSite(t)
	plain.answer(file(list(3, "example")))
	b := newBox(t, plain.URL)
	s := secure(t, b)
	b.SetConfig(configOf(t, s.URL))
	for to, why := range map[string]string{
		plain.URL + "/l?token=x": "redirect from https to " + plain.URL + "/l: anyone on the path",
		"file:///etc/passwd":     "redirect to file: want http or https",
		"ftp://lists.example/":   "redirect to ftp: want http or https",
		"/again":                 "more than 5 redirects",
	} {
		s.answer(redirect(to))
		b.update(Failed, why)
		b.holds("")
		if n := len(s.requests()); n > maxRedirects+1 {
			t.Errorf("%s: %d requests", to, n)
		}
	}
	if n := len(plain.requests()); n > 0 {
		t.Errorf("the plain server was asked %d times", n)
	}
	// Up and along they are followed.
	s.answer(file(list(4, "example")))
	plain.answer(redirect(s.URL + "/l"))
	b.SetConfig(configOf(t, plain.URL))
	b.update(Updated, "")
	b.holds(list(4, "example"))
}

// The user's header lines go to the host that they were meant for, and no other; nor
// does a URL with a token.
func TestHeadersGoToTheirHostOnly(t *testing.T) {
	s, other := newSite(t), newSite(t)
	b := newBox(t, s.URL+"/l?token=x", "headers: {Authorization: Bearer y, X-Token: z, user-agent: mine}", "sha256_url: "+other.URL+"/sum")
	other.answer(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/sum" {
			io.WriteString(w, "nothing")
			return
		}
		file(list(3, "example"))(w, r)
	})
	s.answer(redirect(other.URL + "/l"))
	b.update(Failed, "no SHA-256")
	b.SetConfig(configOf(t, s.URL+"/l?token=x", "headers: {Authorization: Bearer y, X-Token: z, user-agent: mine}"))
	b.update(Updated, "")
	q := s.requests()[0].Header
	if q.Get("Authorization") != "Bearer y" || q.Get("X-Token") != "z" || q.Get("User-Agent") != "mine" {
		t.Errorf("the host itself got %v", q)
	}
	if len(other.requests()) != 2 {
		t.Fatalf("the other host was asked %d times", len(other.requests()))
	}
	for _, r := range other.requests() {
		if h := r.Header; h.Get("Authorization")+h.Get("X-Token")+h.Get("Referer") != "" {
			t.Errorf("the other host got %v", h)
		}
	}
	s.answer(redirect("/there"))
	b.update(Failed, "more than 5 redirects")
	for i, r := range s.requests() {
		if r.Header.Get("X-Token") != "z" {
			t.Errorf("redirect %d of the host itself lost the header", i)
		}
	}
}

// The environment's proxy is asked, for the name, which is not resolved here.
func TestProxyFromEnvironment(t *testing.T) {
	proxy := newSite(t)
	proxy.answer(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.String() != "http://lists.example/l" {
			w.WriteHeader(500)
			return
		}
		file(list(3, "example"))(w, r)
	})
	t.Setenv("http_proxy", proxy.URL)
	b := newBox(t, "http://lists.example/l")
	b.update(Updated, "")
	b.holds(list(3, "example"))
	t.Setenv("no_proxy", "lists.example")
	b.update(Failed, "resolve lists.example")
}

func TestRedact(t *testing.T) {
	for text, want := range map[string]string{
		"https://lists.example/a%20b?token=x": "https://lists.example/a%20b", "http://[2001:db8::1]:80/": "http://[2001:db8::1]:80/",
		"\x00": "(unreadable URL)",
	} {
		if got := redact(text); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
	if s := fmt.Sprint(stripURL(fmt.Errorf("x"))); !strings.Contains(s, "x") {
		t.Error(s)
	}
}
