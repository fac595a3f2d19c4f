package control

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/exit"
)

func TestLock(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	if AnyRuns(dir) {
		t.Error("something runs without a run directory")
	}
	l, err := TakeLock(dir, DNS)
	if err != nil {
		t.Fatal(err)
	}
	if !AnyRuns(dir) {
		t.Error("the holder of a lock is not seen")
	}
	_, err = TakeLock(dir, DNS)
	if exit.Code(err) != exit.Running || !strings.Contains(err.Error(), "another nameroute is already running (process ") {
		t.Errorf("a second one: exit code %d, %v", exit.Code(err), err)
	}
	other, err := TakeLock(dir, Gateway)
	if err != nil {
		t.Fatalf("another part has a lock of its own: %v", err)
	}
	if _, err := AwaitLock(t.Context(), dir, DNS, 0); exit.Code(err) != exit.Running {
		t.Errorf("it is waited for beyond the limit: %v", err)
	}
	for _, l := range []*Lock{l, other} {
		if err := l.Release(); err != nil {
			t.Error(err)
		}
	}
	if AnyRuns(dir) {
		t.Error("a lock file without a holder is one that runs")
	}
	if l, err = AwaitLock(t.Context(), dir, DNS, 0); err != nil {
		t.Fatal(err)
	}
	l.Release()
}

func TestSocket(t *testing.T) {
	dir := t.TempDir()
	name := Socket(dir, []Part{Gateway})
	if err := Ask(name, "reload"); !errors.Is(err, ErrNotRunning) {
		t.Errorf("without a socket: %v", err)
	}
	if err := os.WriteFile(name, nil, 0o600); err != nil { // a killed process leaves its socket
		t.Fatal(err)
	}
	asked := 0
	s, err := Serve(name, map[string]func(context.Context) error{
		"reload": func(context.Context) error { asked++; return nil },
		"down":   func(context.Context) error { return errors.New("interface wg0: busy") },
	}, map[string]Answer{"status": func(context.Context, url.Values) (any, error) { return map[string]int{"answer": 42}, nil }})
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket has mode %v, %v", info.Mode(), err)
	}
	if err := Ask(name, "reload"); err != nil || asked != 1 {
		t.Errorf("reload: %v, asked %d times", err, asked)
	}
	if err := Ask(name, "down"); err == nil || err.Error() != "interface wg0: busy" {
		t.Errorf("down: %v, want the reason alone", err)
	}
	if text, err := Get(name, "status"); err != nil || strings.TrimSpace(string(text)) != `{"answer":42}` {
		t.Errorf("status: %s, %v", text, err)
	}
	if n, err := AskAll(dir, "reload"); n != 1 || err != nil {
		t.Errorf("all: reached %d, %v", n, err)
	}
	s.Close()
	if n, err := AskAll(dir, "reload"); n != 0 || err != nil {
		t.Errorf("after the end: reached %d, %v", n, err)
	}
	if err := RemoveSockets(dir); err != nil {
		t.Error(err)
	}
}

// Connections that ask nothing, ask slowly or do not read end by themselves, and commands are
// answered meanwhile.
func TestSocketIsBounded(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "control.sock")
	s, err := Serve(name, nil, map[string]Answer{"status": func(context.Context, url.Values) (any, error) { return "well", nil }})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var idle []net.Conn
	for i := range maxConns + 10 {
		c, err := net.Dial("unix", name)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		idle = append(idle, c)
		text := []string{"", "GET /status HTTP/1.1\r\n", "POST /status HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n", "GET /status HTTP/1.1\r\nHost: x\r\n\r\n"}[i%4]
		if _, err := io.WriteString(c, text); err != nil {
			t.Fatal(err)
		}
	}
	if text, err := Get(name, "status"); err != nil || strings.TrimSpace(string(text)) != `"well"` {
		t.Errorf("beside idle connections: %s, %v", text, err)
	}
	for _, c := range idle {
		if err := c.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(c); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal("a connection stays open")
		}
	}
}

// Whatever comes by a control socket, the connection ends, nothing but a whole request for a
// verb does something, and the next command is answered.
func FuzzServer(f *testing.F) {
	f.Add([]byte("GET /status HTTP/1.1\r\nHost: x\r\n\r\n"))
	f.Add([]byte("POST /down HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nx"))
	f.Add([]byte("POST /down HTTP/1.1\r\nTransfer-Encoding: chunked\r\nHost: x\r\n\r\n"))
	f.Add([]byte("GET /down HTTP/1.0\r\n\r\n"))
	f.Add([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		name := filepath.Join(t.TempDir(), "s")
		var downs atomic.Int32
		s, err := Serve(name, map[string]func(context.Context) error{"down": func(context.Context) error { downs.Add(1); return nil }}, map[string]Answer{"status": func(context.Context, url.Values) (any, error) { return 1, nil }})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		c, err := net.Dial("unix", name)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(30 * time.Second))
		go func() {
			c.Write(text)
			c.(*net.UnixConn).CloseWrite()
		}()
		if _, err := io.ReadAll(c); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error("the connection stays open")
		}
		if downs.Load() > 0 && !bytes.Contains(text, []byte("POST ")) {
			t.Errorf("down without a POST: %q", text)
		}
		if _, err := Get(name, "status"); err != nil {
			t.Errorf("afterwards: %v", err)
		}
	})
}
