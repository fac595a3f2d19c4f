package control

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

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
	}, func() any { return map[string]int{"answer": 42} })
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
