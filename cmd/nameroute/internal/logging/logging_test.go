package logging

import (
	"bytes"
	"encoding/json"
	"errors"
	"log"
	"log/slog"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	clog "github.com/coredns/coredns/plugin/pkg/log"
	"github.com/google/go-cmp/cmp"
)

// everyLibrary writes a line in each of the ways in which the process's parts and
// libraries do.
func everyLibrary() {
	New("sidecar").Warn("route is down", "route", "vpn", "reason", "no default")
	New("sidecar").Error("policy routing", "error", errors.New("rule 7200: exists\nrule 7201: exists"), "links", []string{"wg0"})
	New("dataplane").With("part", "lists", "file", "a b").Info("reloaded", "names", 3, "after", 2*time.Second)
	slog.Info("started", "from", netip.MustParseAddr("192.0.2.1"))
	slog.Info("inline", "part", "updater")
	New("dataplane").WithGroup("set").Info("grown", "elements", 7)
	clog.NewWithPlugin("errors").Errorf("%d %s: %v", 2, "www.example.org. A", errors.New("read: timeout"))
	clog.Info("Reloading")
	clog.Warning(`a "plugin":"x" in a message`)
	log.Print("[ERROR] Restart failed: plugin/route: no such route")
	log.Print("http: TLS handshake error")
	clog.NewWithPlugin("leases").Error("two\nlines")
	slog.Debug("hidden")
}

func capture(t *testing.T, format string) string {
	t.Helper()
	var out bytes.Buffer
	if err := setFormat(format, &out); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := setFormat("text", os.Stderr); err != nil {
			t.Error(err)
		}
	})
	everyLibrary()
	return out.String()
}

func TestText(t *testing.T) {
	want := `[WARNING] sidecar: route is down route=vpn reason="no default"
[ERROR] sidecar: policy routing error="rule 7200: exists\nrule 7201: exists" links=[wg0]
[INFO] lists: reloaded file="a b" names=3 after=2s
[INFO] nameroute: started from=192.0.2.1
[INFO] updater: inline
[INFO] dataplane: grown set.elements=7
[ERROR] plugin/errors: 2 www.example.org. A: read: timeout
[INFO] resolver: Reloading
[WARNING] resolver: a "plugin":"x" in a message
[ERROR] resolver: Restart failed: plugin/route: no such route
[INFO] resolver: http: TLS handshake error
[ERROR] plugin/leases: two\nlines
`
	if diff := cmp.Diff(want, capture(t, "text")); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestJSON(t *testing.T) {
	want := []map[string]any{
		{"level": "WARN", "part": "sidecar", "msg": "route is down", "route": "vpn", "reason": "no default"},
		{"level": "ERROR", "part": "sidecar", "msg": "policy routing", "error": "rule 7200: exists\nrule 7201: exists", "links": []any{"wg0"}},
		{"level": "INFO", "part": "lists", "msg": "reloaded", "file": "a b", "names": 3.0, "after": "2s"},
		{"level": "INFO", "part": "nameroute", "msg": "started", "from": "192.0.2.1"},
		{"level": "INFO", "part": "updater", "msg": "inline"},
		{"level": "INFO", "part": "dataplane", "msg": "grown", "set": map[string]any{"elements": 7.0}},
		{"level": "ERROR", "part": "plugin/errors", "msg": "2 www.example.org. A: read: timeout"},
		{"level": "INFO", "part": "resolver", "msg": "Reloading"},
		{"level": "WARN", "part": "resolver", "msg": `a "plugin":"x" in a message`},
		{"level": "ERROR", "part": "resolver", "msg": "Restart failed: plugin/route: no such route"},
		{"level": "INFO", "part": "resolver", "msg": "http: TLS handshake error"},
		{"level": "ERROR", "part": "plugin/leases", "msg": "two\nlines"},
	}
	var got []map[string]any
	for line := range strings.Lines(capture(t, "json")) {
		var object map[string]any
		if err := json.Unmarshal([]byte(line), &object); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if at, err := time.Parse(time.RFC3339Nano, object["time"].(string)); err != nil || time.Since(at) > time.Minute {
			t.Errorf("time %v: %v", object["time"], err)
		}
		if strings.Count(line, `"part":`) != 1 {
			t.Errorf("not one part: %s", line)
		}
		delete(object, "time")
		got = append(got, object)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestUnknownFormat(t *testing.T) {
	if err := setFormat("xml", os.Stderr); err == nil || err.Error() != `--log-format "xml": want text or json` {
		t.Errorf("%v", err)
	}
}

// Run by hand, with the log on a terminal or in a file, each line has its time.
func TestTimes(t *testing.T) {
	f, err := os.Create(t.TempDir() + "/log")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := setFormat("text", f); err != nil {
		t.Fatal(err)
	}
	defer setFormat("text", os.Stderr)
	everyLibrary()
	text, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	if len(lines) != 12 {
		t.Errorf("%d lines, want 12", len(lines))
	}
	for _, line := range lines {
		at, err := time.ParseInLocation("2006-01-02 15:04:05.000", line[:min(len(line), 23)], time.Local)
		if err != nil || time.Since(at).Abs() > time.Minute || !strings.HasPrefix(line[23:], " [") {
			t.Errorf("no time: %s", line)
		}
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	if wantsTimes(w) {
		t.Error("what reads a pipe adds the time itself")
	}
}
