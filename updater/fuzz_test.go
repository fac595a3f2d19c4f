package updater

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"testing"
	"time"

	"github.com/nameroute/nameroute/gateway"
)

// Whatever a server sends, at its first request and when it is asked for the rest, a fetch
// ends, and stores no more than max_size.
func FuzzServer(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 9\r\nETag: \"a\"\r\n\r\na.example"), []byte{})
	f.Add([]byte("HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 4-8/9\r\nETag: \"a\"\r\nContent-Length: 5\r\n\r\nmple\n"), []byte("a.ex"))
	f.Add([]byte("HTTP/1.1 416 Range Not Satisfiable\r\nContent-Length: 0\r\n\r\n"), []byte("a.ex"))
	f.Add([]byte("HTTP/1.1 302 Found\r\nLocation: http://192.168.1.1/\r\nContent-Length: 0\r\n\r\n"), []byte{})
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n\x1f\x8b\x08\x00\x00\r\n0\r\n\r\n"), []byte{})
	f.Add([]byte("HTTP/1.1 503 Busy\r\nRetry-After: 99999999999999\r\nConnection: close\r\n\r\n"), []byte{})
	f.Add([]byte("HTTP/1.1 304 Not Modified\r\n\r\n"), []byte{})
	f.Fuzz(func(t *testing.T, answer, stored []byte) {
		const most = 4096
		s := gateway.Source{List: "l", URLs: []string{"http://192.0.2.1/l"}, MaxSize: most}
		st := newStore(t.TempDir())
		unlock, err := st.lock(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer unlock()
		client := newClient(dialer{v4: true, v6: true}, s, func(*http.Request) (*url.URL, error) { return nil, nil }, nil)
		client.Transport.(*http.Transport).DialContext = func(context.Context, string, string) (net.Conn, error) {
			ours, theirs := net.Pipe()
			go func() {
				defer theirs.Close()
				go io.Copy(io.Discard, theirs)
				io.Copy(theirs, bytes.NewReader(answer))
			}()
			return ours, nil
		}
		one := &fetch{client: client, source: s, url: s.URLs[0], store: st, known: meta{URL: s.URLs[0], ETag: `"b"`}, savePart: func(*part) error { return nil }}
		if len(stored) > 0 && len(stored) < most {
			if err := os.WriteFile(st.part("l"), stored, 0o600); err != nil {
				t.Fatal(err)
			}
			one.known.Part = &part{URL: s.URLs[0], Validator: `"a"`, Size: int64(len(stored))}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		got, err := one.run(ctx)
		if ctx.Err() != nil {
			t.Fatalf("it does not end: %v", err)
		}
		info, statErr := os.Stat(st.incoming("l"))
		if err == nil && !got.unchanged && statErr != nil || statErr == nil && info.Size() > most {
			t.Errorf("%+v, %v, stored: %v, %v", got, err, info, statErr)
		}
	})
}
