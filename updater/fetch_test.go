package updater

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

func TestFetchAndNotModified(t *testing.T) {
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
	first := b.remembered()

	s.answer(file(list(3, "example")))
	b.update(Unchanged, "")
	if q := s.requests(); len(q) != 1 || q[0].Header.Get("If-None-Match") != first.ETag || first.ETag == "" {
		t.Errorf("asked %d times, last for %q, want %q", len(q), q[0].Header.Get("If-None-Match"), first.ETag)
	}
	if m := b.remembered(); !m.Checked.After(first.Checked) || !m.Fetched.Equal(first.Fetched) || m.ETag != first.ETag {
		t.Errorf("remembered %+v, before %+v", m, first)
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

// Where a server knows no validators, the same content is no update.
func TestSameContent(t *testing.T) {
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

// A 304 to a question that had no condition says nothing.
func TestNotModifiedUnasked(t *testing.T) {
	s := newSite(t)
	b := newBox(t, s.URL)
	s.answer(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotModified) })
	b.update(Failed, "the server answered 304 Not Modified")
	b.holds("")
}

// Content that was changed by hand or by a crash is fetched anew, not asked about.
func TestForeignContent(t *testing.T) {
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

// cut sends the header of the whole text and only n bytes of it.
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

func TestTruncatedThenResumed(t *testing.T) {
	s := newSite(t)
	b := newBox(t, s.URL)
	s.answer(file(list(200, "old.example")))
	b.update(Updated, "")
	text := list(300, "example")

	s.answer(cut(text, 1000))
	b.update(Failed, "the download was interrupted after 1000 bytes: unexpected EOF")
	b.holds(list(200, "old.example"))
	if p := b.remembered().Part; p == nil || p.Size != 1000 || p.Validator != `"whole"` {
		t.Fatalf("part %+v", p)
	}

	// A 500 in between does not lose it.
	s.answer(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) })
	b.update(Failed, "the server answered 500 Internal Server Error")

	s.answer(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"whole"`)
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(text))
	})
	b.update(Updated, "")
	b.holds(text)
	if q := s.requests(); len(q) != 1 || q[0].Header.Get("Range") != "bytes=1000-" || q[0].Header.Get("If-Range") != `"whole"` {
		t.Errorf("asked %d times, for %q if %q", len(q), q[0].Header.Get("Range"), q[0].Header.Get("If-Range"))
	}
	b.clean()
}

// Another mirror that has nothing does not cost the part of the first.
func TestPartOutlivesMirror(t *testing.T) {
	first, second := newSite(t), newSite(t)
	b := newBox(t, fmt.Sprintf("[%s, %s]", first.URL, second.URL))
	text := list(300, "example")
	first.answer(cut(text, 1000))
	b.update(Failed, "404 Not Found")
	first.answer(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"whole"`)
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(text))
	})
	b.update(Updated, "")
	b.holds(text)
	if got := first.requests()[0].Header.Get("Range"); got != "bytes=1000-" {
		t.Errorf("asked for %q", got)
	}
	b.clean()
	// Nothing is left of it where a mirror says that nothing is new.
	first.answer(cut(list(301, "example"), 1000))
	second.answer(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, text) })
	b.update(Unchanged, "")
	b.clean()
	if b.remembered().Part != nil {
		t.Errorf("remembered %+v", b.remembered().Part)
	}
}

// What a server sends instead of the rest is never put behind the part.
func TestResumeOfSomethingElse(t *testing.T) {
	whole := list(300, "example")
	other := list(250, "other.example")
	for name, serve := range map[string]http.HandlerFunc{
		"whole again": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("ETag", `"other"`)
			io.WriteString(w, other)
		},
		"no such range": func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Range") != "" {
				w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
				return
			}
			io.WriteString(w, other)
		},
		"another place": func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Range") != "" {
				w.Header().Set("Content-Range", "bytes 0-99/100")
				w.WriteHeader(http.StatusPartialContent)
				return
			}
			io.WriteString(w, other)
		},
		"another version": func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Range") != "" {
				w.Header().Set("ETag", `"other"`)
				w.Header().Set("Content-Range", fmt.Sprintf("bytes 1000-%d/%d", len(other)-1, len(other)))
				w.WriteHeader(http.StatusPartialContent)
				io.WriteString(w, other[1000:])
				return
			}
			io.WriteString(w, other)
		},
		"no range in it": func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Range") != "" {
				w.WriteHeader(http.StatusPartialContent)
				return
			}
			io.WriteString(w, other)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			b := newBox(t, s.URL)
			s.answer(cut(whole, 1000))
			b.update(Failed, "interrupted after 1000 bytes")
			s.answer(serve)
			b.update(Updated, "")
			b.holds(other)
			b.clean()
		})
	}
}

// A part without a strong validator, or of a server without ranges, is thrown away.
func TestNotResumable(t *testing.T) {
	for name, header := range map[string][2]string{
		"weak ETag": {"ETag", `W/"weak"`}, "no ranges": {"Accept-Ranges", "none"}, "nothing": {"X", "y"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			b := newBox(t, s.URL)
			s.answer(func(w http.ResponseWriter, r *http.Request) {
				if name != "nothing" {
					w.Header().Set("ETag", `"strong"`)
					w.Header().Set("Accept-Ranges", "bytes")
				}
				w.Header().Set(header[0], header[1])
				w.Header().Set("Content-Length", "9000")
				w.Write(make([]byte, 4000))
			})
			b.update(Failed, "interrupted after 4000 bytes")
			b.clean()
			if b.remembered().Part != nil {
				t.Errorf("remembered %+v", b.remembered().Part)
			}
		})
	}
}

func zipped(t *testing.T, write func(io.Writer)) []byte {
	t.Helper()
	var buf bytes.Buffer
	z := gzip.NewWriter(&buf)
	write(z)
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func encoded(encoding string, body []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", encoding)
		w.Write(body)
	}
}

func TestCompressed(t *testing.T) {
	s := newSite(t)
	b := newBox(t, s.URL, "max_size: 1M")
	text := list(100, "example")
	body := zipped(t, func(w io.Writer) { io.WriteString(w, text) })
	s.answer(encoded("gzip", body))
	b.update(Updated, "")
	b.holds(text)
	if got := s.requests()[0].Header.Get("Accept-Encoding"); got != "gzip" {
		t.Errorf("Accept-Encoding %q", got)
	}
	s.answer(encoded("gzip", body[:len(body)-20]))
	b.update(Failed, "decompress: unexpected EOF")
	s.answer(encoded("gzip", []byte("no gzip at all")))
	b.update(Failed, "decompress: gzip: invalid header")
	s.answer(encoded("br", body))
	b.update(Failed, "content encoding br, which was not requested")
	b.holds(text)
	b.clean()
}

func TestGzipBomb(t *testing.T) {
	s := newSite(t)
	b := newBox(t, s.URL, "max_size: 1M")
	bomb := zipped(t, func(w io.Writer) { io.CopyN(w, zeros{}, 48<<20) })
	if len(bomb) > 1<<20 {
		t.Fatalf("the bomb has %d bytes", len(bomb))
	}
	s.answer(encoded("gzip", bomb))
	began := time.Now()
	b.update(Refused, "it decompresses to more than max_size 1048576")
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v to find out", took)
	}
	b.holds("")
	b.clean()
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestTooLarge(t *testing.T) {
	s := newSite(t)
	b := newBox(t, s.URL, "max_size: 1K")
	s.answer(file(list(200, "example")))
	b.update(Refused, "above max_size 1024")
	s.answer(func(w http.ResponseWriter, _ *http.Request) { // of no known length
		for range 1000 {
			io.WriteString(w, list(10, "example"))
			w.(http.Flusher).Flush()
		}
	})
	b.update(Refused, "above max_size 1024")
	b.holds("")
	b.clean()
}

// A server that sends a byte now and then costs no more than the time limit, and the
// next mirror is asked.
func TestSlowLoris(t *testing.T) {
	slow, good := newSite(t), newSite(t)
	slow.answer(func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			io.WriteString(w, "a")
			w.(http.Flusher).Flush()
			time.Sleep(20 * time.Millisecond)
		}
	})
	good.answer(file(list(3, "example")))
	b := newBox(t, fmt.Sprintf("[%s, %s]", slow.URL, good.URL), "timeout: 300ms")
	began := time.Now()
	if r := b.update(Updated, ""); r.URL != good.URL {
		t.Errorf("fetched from %s", r.URL)
	}
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("it took %v", took)
	}
	b.holds(list(3, "example"))

	alone := newBox(t, slow.URL, "timeout: 200ms")
	alone.update(Failed, "not done within timeout 200ms: the download was interrupted after")
}

// One that accepts connections and says nothing is no different.
func TestSilentServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	b := newBox(t, "http://"+l.Addr().String(), "timeout: 200ms")
	b.update(Failed, "not done within timeout 200ms")
}

func TestServerErrors(t *testing.T) {
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
	if m := b.remembered(); m.Failures != 12 || !strings.Contains(m.Error, "connection refused") {
		t.Errorf("remembered: %d failures, %s", m.Failures, m.Error)
	}
	b.clean()
}

func TestMirrors(t *testing.T) {
	first, second := newSite(t), newSite(t)
	b := newBox(t, fmt.Sprintf("[%s/a, %s/b]", first.URL, second.URL))
	first.answer(file(list(3, "example")))
	b.update(Updated, "")
	if len(second.requests()) > 0 {
		t.Error("the second mirror was asked though the first had it")
	}
	// What one server calls its content means nothing to another.
	first.answer(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) })
	second.answer(file(list(4, "example")))
	b.update(Updated, "")
	if q := second.requests(); q[0].Header.Get("If-None-Match") != "" {
		t.Errorf("the second mirror was asked for %s", q[0].Header.Get("If-None-Match"))
	}
	b.holds(list(4, "example"))
	// A mirror with something useless does not hide the next one.
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
