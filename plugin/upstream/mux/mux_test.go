package mux

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/nameroute/nameroute/plugin/upstream/address"
)

// FuzzReply: of an HTTP response only a body that was announced as a message and is whole is
// a reply, as it came; everything else is a failure with a word for the metrics, or the
// connection's error.
func FuzzReply(f *testing.F) {
	for _, s := range []string{
		"HTTP/1.1 200 OK\r\nContent-Type: application/dns-message\r\nContent-Length: 3\r\nAge: 7\r\n\r\nabc",
		"HTTP/1.1 200 OK\r\nContent-Type: application/dns-message; x=y\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Type: application/dns-message\r\nContent-Length: 9\r\nAge: -1\r\n\r\nabc",
		"HTTP/1.1 307 Temporary Redirect\r\nLocation: https://192.0.2.1/\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>",
		"HTTP/1.1 200 OK\r\nContent-Type: ;;;\r\nAge: 99999999999999999999\r\n\r\n" + strings.Repeat("x", 70000),
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		read := func() (*http.Response, error) {
			return http.ReadResponse(bufio.NewReader(bytes.NewReader(in)), &http.Request{Method: http.MethodPost})
		}
		resp, err := read()
		if err != nil {
			return // the HTTP library's business
		}
		got, err := reply(resp)
		again, _ := read()
		body, bodyErr := io.ReadAll(again.Body)
		good := resp.StatusCode == http.StatusOK && strings.Contains(strings.ToLower(resp.Header.Get("Content-Type")), mediaType) && bodyErr == nil && len(body) <= maxMessage
		switch {
		case err == nil && (!good || !bytes.Equal(got.Msg, body) || got.Age > 1<<31-1):
			t.Fatalf("taken: %x, %d, of %q", got.Msg, got.Age, in)
		case err != nil && got.Msg != nil:
			t.Fatalf("a message beside the error %v", err)
		case errors.As(err, new(*Failure)):
			var failed *Failure
			errors.As(err, &failed)
			if failed.Reason == "" || len(err.Error()) > 1200 {
				t.Fatalf("%q of %q", err, in)
			}
		}
	})
}

// FuzzReadFramed: of a stream of DoQ the first message, or an error.
func FuzzReadFramed(f *testing.F) {
	f.Add([]byte("\x00\x03abc"))
	f.Add([]byte("\x00\x01a"))
	f.Add([]byte("\xff\xffabc"))
	f.Fuzz(func(t *testing.T, in []byte) {
		msg, err := readFramed(bytes.NewReader(in))
		complete := len(in) >= 4 && binary.BigEndian.Uint16(in) >= 2 && len(in) >= 2+int(binary.BigEndian.Uint16(in))
		if complete != (err == nil) || complete && !bytes.Equal(msg, in[2:2+int(binary.BigEndian.Uint16(in))]) {
			t.Fatalf("%x, %v of %x", msg, err, in)
		}
		if err != nil && !errors.As(err, new(*Failure)) {
			t.Fatalf("%v is no failure", err)
		}
	})
}

// FuzzTarget: whatever path an address has, its request goes to the resolver and to no
// other host, and can be written.
func FuzzTarget(f *testing.F) {
	for _, path := range []string{"/dns-query", "/q?id=1", "//192.0.2.1/x", "/%2f%zz", "/..", "/a:b@c"} {
		f.Add(path)
	}
	f.Fuzz(func(t *testing.T, path string) {
		a, err := address.Parse("https://192.0.2.53%dns.example.org:8443" + path)
		if err != nil || !strings.HasPrefix(path, "/") {
			return
		}
		to := target(a, "dns.example.org")
		var out bytes.Buffer
		if err := request(t.Context(), to, []byte("abc")).Write(&out); err != nil {
			t.Fatalf("%q: %v", path, err)
		}
		r, err := http.ReadRequest(bufio.NewReader(&out))
		if err != nil || r.Host != "dns.example.org:8443" || r.Method != http.MethodPost || r.UserAgent() != "" {
			t.Fatalf("%q: %+v, %v", path, r, err)
		}
		if body, err := io.ReadAll(r.Body); err != nil || string(body) != "abc" {
			t.Fatalf("%q: body %q, %v", path, body, err)
		}
	})
}
