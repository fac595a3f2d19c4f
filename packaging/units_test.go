package packaging

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	services = []string{"nameroute", "nameroute-dns", "nameroute-gateway", "nameroute-update"}
	helpers  = []string{"nameroute-early", "nameroute-hold"}
)

func unit(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("systemd", name+".service"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// analyze is a folder with the units, in which the program is one that every machine has.
func analyze(t *testing.T) (tool, dir string) {
	t.Helper()
	tool, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("needs systemd-analyze")
	}
	dir = t.TempDir()
	for _, name := range append(helpers, services...) {
		text := regexp.MustCompile(`/usr/sbin/(nameroute|nft)\b`).ReplaceAllString(unit(t, name), "/bin/true")
		if err := os.WriteFile(filepath.Join(dir, name+".service"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return tool, dir
}

// verify is what systemd says of the units in a folder; nothing is good.
func verify(t *testing.T, tool, dir string) string {
	t.Helper()
	units, err := filepath.Glob(filepath.Join(dir, "*.service"))
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(tool, append([]string{"verify", "--man=no", "--recursive-errors=one"}, units...)...).CombinedOutput()
	if err != nil && len(out) == 0 {
		t.Fatal(err)
	}
	return string(out)
}

func TestSystemdUnderstandsUnits(t *testing.T) {
	tool, dir := analyze(t)
	if out := verify(t, tool, dir); out != "" {
		t.Errorf("systemd-analyze verify:\n%s", out)
	}
	// The test itself: a wrong line is seen.
	name := filepath.Join(dir, "nameroute.service")
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(strings.Replace(string(text), "WatchdogSec=", "WatchDogSec=", 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	if out := verify(t, tool, dir); !strings.Contains(out, "WatchDogSec") {
		t.Errorf("a key that systemd does not know went through: %q", out)
	}
}

// systemd's own score of what a service could do to the machine: 0 is nothing at all,
// 10 is everything. A service that routes cannot do without some of it.
func TestExposure(t *testing.T) {
	tool, dir := analyze(t)
	for _, name := range append([]string{"nameroute-hold"}, services...) {
		out, err := exec.Command(tool, "security", "--offline=true", "--threshold=20", "--no-pager", filepath.Join(dir, name+".service")).CombinedOutput()
		if err != nil {
			t.Errorf("%s: exposure above 2.0: %v\n%s", name, err, out)
		}
	}
}

func TestCapabilities(t *testing.T) {
	for name, want := range map[string]string{
		"nameroute":         "CAP_NET_ADMIN CAP_NET_RAW CAP_NET_BIND_SERVICE CAP_DAC_READ_SEARCH",
		"nameroute-dns":     "CAP_NET_ADMIN CAP_NET_BIND_SERVICE CAP_DAC_READ_SEARCH",
		"nameroute-gateway": "CAP_NET_ADMIN CAP_NET_RAW CAP_DAC_READ_SEARCH",
		"nameroute-update":  "CAP_NET_ADMIN",
	} {
		text := unit(t, name)
		for _, line := range []string{"User=nameroute", "AmbientCapabilities=" + want, "CapabilityBoundingSet=" + want} {
			if !strings.Contains(text, "\n"+line+"\n") {
				t.Errorf("%s has no line %s", name, line)
			}
		}
	}
}

// What keeps a service in its place is the same in all units.
func TestHardeningIsShared(t *testing.T) {
	shared := func(name string) string {
		_, after, found := strings.Cut(unit(t, name), "# Identical in all units.\n")
		if !found {
			t.Fatalf("%s has no shared part", name)
		}
		return after
	}
	want := shared(services[0])
	if !strings.Contains(want, "ProtectSystem=strict\n") || !strings.Contains(want, "SystemCallFilter=~@privileged @resources\n") {
		t.Errorf("the shared part is not what it was:\n%s", want)
	}
	for _, name := range services[1:] {
		if got := shared(name); got != want {
			t.Errorf("%s has\n%s\nnameroute has\n%s", name, got, want)
		}
	}
}
