package updater

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

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

func TestGzipIsDecompressed(t *testing.T) {
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

func TestDecompressedSizeIsBounded(t *testing.T) {
	s := newSite(t)
	b := newBox(t, s.URL, "max_size: 1M")
	bomb := zipped(t, func(w io.Writer) { io.CopyN(w, zeros{}, 48<<20) })
	if len(bomb) > 1<<20 {
		t.Fatalf("the bomb has %d bytes", len(bomb))
	}
	s.answer(encoded("gzip", bomb))
	b.update(Refused, "it decompresses to more than max_size 1048576")
	b.holds("")
	b.clean()
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestSizeIsBounded(t *testing.T) {
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

// A server that sends a byte now and then costs no more than the timeout, and the next
// mirror is tried.
func TestTimeoutOfASlowServer(t *testing.T) {
	t.Parallel()
	slow, good := newSite(t), newSite(t)
	slow.answer(func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			io.WriteString(w, "a")
			w.(http.Flusher).Flush()
			time.Sleep(20 * time.Millisecond)
		}
	})
	good.answer(file(list(3, "example")))
	b := newBox(t, fmt.Sprintf("[%s, %s]", slow.URL, good.URL), "timeout: 2s")
	if r := b.update(Updated, ""); r.URL != good.URL {
		t.Errorf("fetched from %s", r.URL)
	}
	b.holds(list(3, "example"))

	alone := newBox(t, slow.URL, "timeout: 2s")
	alone.update(Failed, "not done within timeout 2s: the download was interrupted after")
}

// A server that accepts connections and sends nothing costs no more either.
func TestTimeoutOfASilentServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	b := newBox(t, "http://"+l.Addr().String(), "timeout: 200ms")
	b.update(Failed, "not done within timeout 200ms")
}
