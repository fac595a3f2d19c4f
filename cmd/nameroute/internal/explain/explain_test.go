package explain

import (
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"testing"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/paths"
	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/config"
	"github.com/nameroute/nameroute/lists"
)

// What is asked of the running process comes through a URL as it was.
func TestRequestTravels(t *testing.T) {
	for _, r := range []Request{
		{Name: "www.example.org.", Types: []string{"A", "HTTPS"}, Class: "kids", Client: netip.MustParseAddr("192.168.1.2"), At: netip.MustParseAddr("192.168.1.1")},
		{Addrs: []netip.Addr{netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("192.0.2.1")}, Client: netip.MustParseAddr("fe80::1%br-lan")},
	} {
		got, err := ParseRequest(r.Values())
		if err != nil || !reflect.DeepEqual(got, r) {
			t.Errorf("%+v, %v, want %+v", got, err, r)
		}
	}
	if _, err := ParseRequest(map[string][]string{"client": {"router"}}); err == nil {
		t.Error("a client that is no address is taken")
	}
}

func TestTarget(t *testing.T) {
	for text, want := range map[string]string{
		"www.Example.org": "www.example.org 0", "example.org.": "example.org 0", "https://example.org/a?b": "example.org 443",
		"http://example.org:8080": "example.org 8080", "bücher.example": "xn--bcher-kva.example 0", "192.0.2.1": "[192.0.2.1] 0",
		"https://[2001:db8::1]/": "[2001:db8::1] 443", "http://": "error", "a b": "error", "": "error",
	} {
		l := &look{Options: Options{Target: text}, doc: &Doc{}}
		q, err := l.target()
		got := "error"
		if err == nil {
			got = l.doc.Name
			for _, a := range q.Addrs {
				got += "[" + a.String() + "]"
			}
			got += " " + strconv.Itoa(int(l.doc.Port))
		}
		if got != want {
			t.Errorf("%q: %s, %v; want %s", text, got, err, want)
		}
	}
}

// A line that is printed lists the name in a file of the format.
func TestLinesOfFormats(t *testing.T) {
	for _, format := range []string{"plain", "dnsmasq", "autoproxy", "adblock", "hosts"} {
		file := filepath.Join(t.TempDir(), "list")
		if err := os.WriteFile(file, []byte(lineFor(format, "www.example.org")+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		v, err := lists.Test(gateway.List{Name: "mine", File: file, Format: format}, "www.example.org")
		if err != nil || !v[0].Listed {
			t.Errorf("%s: %q: %+v, %v", format, lineFor(format, "www.example.org"), v, err)
		}
	}
	if lineFor("geosite", "a.example") != "" {
		t.Error("a line for a binary format")
	}
}

// The commands that change lists of gateway.yaml do so in both styles of YAML, and what they
// write is read.
func TestCommandsChangeYAML(t *testing.T) {
	const rest = "lan: [br-lan]\nroutes:\n  vpn: {interface: tun0}\n"
	for _, c := range []struct{ text, address string }{
		{"exclude: [198.51.100.1, 30.1.1.1/32]\n", "30.1.1.1"}, {"exclude: [30.1.1.1]\n", "30.1.1.1"},
		{"exclude: [\"2a0f::1\", 30.1.1.1]\n", "2a0f::1"}, {"exclude:\n  - 198.51.100.1\n  - 30.0.0.0/8\n", "30.1.1.1"},
	} {
		l := lookAt(t, c.text+rest)
		l.remedyExclude(netip.MustParseAddr(c.address))
		if after := l.apply(t); slices.ContainsFunc(after.Exclude, func(p netip.Prefix) bool { return p.Contains(netip.MustParseAddr(c.address)) }) || len(after.Exclude) != len(l.cfg.Exclude)-1 {
			t.Errorf("%q: %v is left of %v", c.text, after.Exclude, l.cfg.Exclude)
		}
	}
	for _, text := range []string{"clients:\n  kids: {prefix: [192.168.1.9]}\n", "clients:\n  kids:\n    prefix:\n      - 192.168.1.9\n"} {
		l := lookAt(t, text+rest)
		l.client.Address = netip.MustParseAddr("192.168.1.2")
		l.remedyClass("kids")
		if after := l.apply(t); !slices.Contains(after.Clients[0].Prefixes, netip.MustParsePrefix("192.168.1.2/32")) || len(after.Clients[0].Prefixes) != 2 {
			t.Errorf("%q: %v", text, after.Clients)
		}
	}
}

func lookAt(t *testing.T, yaml string) *look {
	t.Helper()
	file := filepath.Join(t.TempDir(), "gateway.yaml")
	if err := os.WriteFile(file, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	return &look{Options: Options{Paths: paths.Paths{Config: file}}, doc: &Doc{}, cfg: cfg}
}

// apply runs the commands that were found and reads the file again.
func (l *look) apply(t *testing.T) *gateway.Config {
	t.Helper()
	if len(l.doc.Remedies) != 1 || len(l.doc.Remedies[0].Commands) != 1 {
		t.Fatalf("remedies %+v", l.doc.Remedies)
	}
	command := l.doc.Remedies[0].Commands[0]
	if out, err := exec.Command("sh", "-c", command).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", command, err, out)
	}
	cfg, err := config.Load(l.Config)
	if err != nil {
		text, _ := os.ReadFile(l.Config)
		t.Fatalf("%s: %v\n%s", command, err, text)
	}
	return cfg
}
