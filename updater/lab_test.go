package updater

import (
	"context"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/config"
	"github.com/nameroute/nameroute/lists"
	"github.com/nameroute/nameroute/test/netlab"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDir); dir != "" {
		crash(dir) // the child of TestKilledStoreHasCompleteContent
		return
	}
	if dir := os.Getenv(killedDir); dir != "" {
		killed(dir) // the child of TestKilledDownloadIsResumedIsResumed
		return
	}
	netlab.Main(m)
}

// site is a web server with scripted answers.
type site struct {
	*httptest.Server
	mu    sync.Mutex
	serve http.HandlerFunc
	asked []*http.Request
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{serve: http.NotFound}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.asked = append(s.asked, r)
	serve := s.serve
	s.mu.Unlock()
	serve(w, r)
}

// answer sets the answer to all requests from now on, and clears the list of requests.
func (s *site) answer(h http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.serve, s.asked = h, nil
}

func (s *site) requests() []*http.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

// file serves text as a file server does: with a strong ETag, 304 and ranges.
func file(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", fmt.Sprintf(`"%x"`, len(text)*31+int(text[0])))
		http.ServeContent(w, r, "list.txt", time.Time{}, strings.NewReader(text))
	}
}

// list is a list of n names.
func list(n int, domain string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "name%d.%s\n", i, domain)
	}
	return b.String()
}

// box is an updater with a state directory of its own and one list, "l".
type box struct {
	*Updater
	t     *testing.T
	state string
	log   *strings.Builder
}

// newBox makes an updater of list l at a URL; keys are further lines of the list.
func newBox(t *testing.T, url string, keys ...string) *box {
	t.Helper()
	netlab.Need(t) // marked sockets
	return openBox(t, t.TempDir(), url, keys...)
}

func configOf(t *testing.T, url string, keys ...string) *gateway.Config {
	t.Helper()
	text := "lists:\n  l:\n    url: " + url + "\n"
	for _, k := range keys {
		text += "    " + k + "\n"
	}
	cfg, err := config.Parse("gateway.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func openBox(t *testing.T, state, url string, keys ...string) *box {
	t.Helper()
	b := &box{t: t, state: state, log: &strings.Builder{}}
	var mu sync.Mutex
	b.Updater = New(Options{
		Config: configOf(t, url, keys...), State: state, Shipped: filepath.Join(state, "shipped"),
		Log: slog.New(slog.NewTextHandler(&locked{mu: &mu, b: b.log}, nil)),
	})
	b.mu.Lock()
	defer b.mu.Unlock()
	b.useConfigLocked() // as Run does first
	return b
}

type locked struct {
	mu *sync.Mutex
	b  *strings.Builder
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// update updates l and wants an outcome, and words in the error.
func (b *box) update(want Outcome, why string) Result {
	b.t.Helper()
	return b.updateWith(Flags{}, want, why)
}

func (b *box) updateWith(f Flags, want Outcome, why string) Result {
	b.t.Helper()
	results, err := b.Update(context.Background(), nil, f)
	if err != nil || len(results) != 1 {
		b.t.Fatalf("update: %v, results %v", err, results)
	}
	r := results[0]
	switch {
	case r.Outcome != want:
		b.t.Fatalf("outcome %s (%v), want %s", r.Outcome, r.Err, want)
	case why == "" && r.Err != nil:
		b.t.Fatalf("error: %v", r.Err)
	case why != "" && (r.Err == nil || !strings.Contains(r.Err.Error(), why)):
		b.t.Fatalf("error: %v\nwant: %s", r.Err, why)
	}
	return r
}

// holds wants this content in use, and metadata that matches it.
func (b *box) holds(want string) {
	b.t.Helper()
	got, err := os.ReadFile(b.store.content("l"))
	if want == "" {
		if err == nil {
			b.t.Fatalf("there is content: %.80q", got)
		}
		return
	}
	if err != nil || string(got) != want {
		b.t.Fatalf("content is %.80q (%d bytes, %v), want %.80q (%d bytes)", got, len(got), err, want, len(want))
	}
	m := b.meta()
	sum, err := sumFile(b.store.content("l"))
	if err != nil || m.SHA256 != sum {
		b.t.Fatalf("stored is the sum %s, the content has %s (%v)", m.SHA256, sum, err)
	}
	r, err := lists.Check(gateway.List{Name: "l", File: b.store.content("l")})
	if err != nil || m.Rules != countEntries(r) {
		b.t.Fatalf("stored are %d entries, the content has %d (%v)", m.Rules, countEntries(r), err)
	}
}

func (b *box) meta() meta {
	b.t.Helper()
	m, err := readMeta(b.store.meta("l"))
	if err != nil {
		b.t.Fatal(err)
	}
	return m
}

// clean wants no temporary files.
func (b *box) clean() {
	b.t.Helper()
	for _, glob := range []string{".updater/new/*", ".updater/.[!.]*", ".updater/*.part"} {
		left, err := filepath.Glob(filepath.Join(gateway.FetchedDir(b.state), glob))
		if err != nil || len(left) > 0 {
			b.t.Errorf("left behind: %v (%v)", left, err)
		}
	}
}

// clock gives the box a clock that the test sets.
func (b *box) clock(now time.Time) *time.Time {
	at := now
	b.options.Timers.now = func() time.Time { return at }
	return &at
}

// secure makes a site with TLS, whose certificate the box trusts.
func secure(t *testing.T, b *box) *site {
	t.Helper()
	s := &site{serve: http.NotFound}
	s.Server = httptest.NewUnstartedServer(s)
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // failing handshakes are tested
	s.StartTLS()
	t.Cleanup(s.Close)
	if b != nil {
		b.roots = x509.NewCertPool()
		b.roots.AddCert(s.Certificate())
	}
	return s
}

func redirect(to string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", to)
		w.WriteHeader(http.StatusFound)
	}
}

// cut sends the header for all of the text and only n bytes of it.
func cut(text string, n int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"whole"`)
		w.Header().Set("Accept-Ranges", "bytes")
		w.Header().Set("Content-Length", fmt.Sprint(len(text)))
		io.WriteString(w, text[:n])
		w.(http.Flusher).Flush()
		conn, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			conn.Close()
		}
	}
}
