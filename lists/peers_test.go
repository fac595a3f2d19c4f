package lists

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nameroute/nameroute/gateway"
)

// peer returns a program that `make peers-test` has built.
func peer(t *testing.T, name string) string {
	t.Helper()
	dir := os.Getenv("NAMEROUTE_PEERS")
	if dir == "" {
		t.Skip("make peers-test builds the programs that this compares with")
	}
	return filepath.Join(dir, name)
}

// runPeer runs a program and returns all that it prints.
func runPeer(t *testing.T, program string, args ...string) string {
	t.Helper()
	out, err := exec.Command(program, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", filepath.Base(program), args, err, out)
	}
	return string(out)
}

// aboutNames returns names on, above, below and beside those of testdata/peers.
func aboutNames() (names []string) {
	for _, n := range []string{"plain.example", "suffix.example", "below.example", "star.example", "two.example", "middle.example",
		"xn--fsqu00a.example", "co.example", "upper.example", "keyed.example", "old.example", "end.example"} {
		for _, left := range []string{"", "a.", "b.a.", "c.b.a.", "www.", "www.a.", "www.b.a.", "x", "x.www.a.", "key."} {
			names = append(names, left+n)
		}
	}
	return append(names, "example", "other.test", "a-keyword-b.test", "r1.test", "rx.test", "expression.test")
}

// reading returns which of some names a list holds, by our own matcher.
func reading(t *testing.T, file string, names []string) map[string]bool {
	t.Helper()
	l, errs := Open([]gateway.List{{Name: "l", File: file}}, Options{})
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	held := map[string]bool{}
	for _, n := range names {
		held[n] = which(l.Index(), n) == "l"
	}
	return held
}

// TestPeerFiles: a file that mihomo or sing-box compiled from a list is read as the list.
func TestPeerFiles(t *testing.T) {
	names := aboutNames()
	source := reading(t, "testdata/peers/domain.yaml", names)
	if diff := cmp.Diff(source, reading(t, "testdata/peers/domain.mrs", names)); diff != "" {
		t.Errorf("domain.mrs (-source +compiled):\n%s", diff)
	}
	for _, version := range []string{"1", "2", "5"} {
		file := "testdata/peers/rules" + version
		if diff := cmp.Diff(reading(t, file+".json", names), reading(t, file+".srs", names)); diff != "" {
			t.Errorf("%s.srs (-source +compiled):\n%s", file, diff)
		}
		if diff := cmp.Diff(prefixesOf(t, file+".json"), prefixesOf(t, file+".srs")); diff != "" {
			t.Errorf("%s.srs (-source +compiled):\n%s", file, diff)
		}
	}
	yes := 0
	for _, held := range source {
		if held {
			yes++
		}
	}
	if yes < 20 || yes > len(names)/2 {
		t.Errorf("%d of %d names are listed", yes, len(names))
	}
	if diff := cmp.Diff(prefixesOf(t, "testdata/peers/ipcidr.yaml"), prefixesOf(t, "testdata/peers/ipcidr.mrs")); diff != "" {
		t.Errorf("ipcidr.mrs (-source +compiled):\n%s", diff)
	}
}

// prefixesOf returns the prefixes of a list, merged.
func prefixesOf(t *testing.T, file string) []string {
	t.Helper()
	l, errs := Open([]gateway.List{{Name: "l", File: file}}, Options{})
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	held := map[netip.Prefix]bool{}
	for _, p := range l.Prefixes("l") {
		held[p] = true
	}
	var out []string
	for bits := 128; bits >= 0; bits-- {
		for p := range held {
			if p.Bits() != bits || !held[p] {
				continue
			}
			above := netip.PrefixFrom(p.Addr(), max(bits-1, 0)).Masked()
			covered := false
			for b := bits - 1; b >= 0 && !covered; b-- {
				covered = held[netip.PrefixFrom(p.Addr(), b).Masked()]
			}
			sibling := netip.PrefixFrom(flipped(p.Addr(), bits-1), bits)
			switch {
			case covered:
				delete(held, p)
			case bits > 0 && held[sibling]:
				delete(held, p)
				delete(held, sibling)
				held[above] = true
			}
		}
	}
	for p := range held {
		out = append(out, p.String())
	}
	slices.Sort(out)
	return out
}

// flipped returns an address with one bit inverted.
func flipped(a netip.Addr, bit int) netip.Addr {
	b := a.AsSlice()
	if bit >= 0 {
		b[bit/8] ^= 0x80 >> (bit % 8)
	}
	a, _ = netip.AddrFromSlice(b)
	return a
}

// TestPeerMihomo: mihomo compiles our rule-providers as it did for testdata/peers, and sends to
// the resolver of listed names what we read as listed, from text and from .mrs.
func TestPeerMihomo(t *testing.T) {
	mihomo := peer(t, "mihomo")
	names := aboutNames()
	for _, behaviour := range []string{"domain", "ipcidr"} {
		out := filepath.Join(t.TempDir(), behaviour+".mrs")
		runPeer(t, mihomo, "convert-ruleset", behaviour, "yaml", "testdata/peers/"+behaviour+".yaml", out)
		if behaviour == "ipcidr" {
			if diff := cmp.Diff(prefixesOf(t, "testdata/peers/ipcidr.mrs"), prefixesOf(t, out)); diff != "" {
				t.Error(diff)
			}
			continue
		}
		for _, file := range []string{out, "testdata/peers/domain.yaml"} {
			theirs := sentToListed(t, startMihomo(t, mihomo, file), names)
			if diff := cmp.Diff(theirs, reading(t, file, names)); diff != "" {
				t.Errorf("%s (-mihomo +nameroute):\n%s", filepath.Base(file), diff)
			}
		}
	}
}

// startMihomo runs mihomo as a resolver that queries another one for listed names.
func startMihomo(t *testing.T, program, list string) (addr string) {
	t.Helper()
	text, err := os.ReadFile(list)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr = l.LocalAddr().String()
	l.Close()
	dir := t.TempDir()
	write(t, filepath.Join(dir, filepath.Base(list)), string(text))
	write(t, filepath.Join(dir, "config.yaml"), fmt.Sprintf(`
log-level: silent
ipv6: false
dns:
  enable: true
  listen: %s
  use-hosts: false
  use-system-hosts: false
  nameserver: ["udp://127.0.0.1:%d"]
  nameserver-policy: {"rule-set:own": "udp://127.0.0.1:%d"}
rule-providers:
  own: {type: file, behavior: domain, format: %s, path: ./%s}
rules: ["MATCH,DIRECT"]
`, addr, answerer(t, "192.0.2.1"), answerer(t, "192.0.2.2"), strings.TrimPrefix(filepath.Ext(list), "."), filepath.Base(list)))
	ctx, cancel := context.WithCancel(context.Background())
	c := exec.CommandContext(ctx, program, "-d", dir)
	c.Stdout, c.Stderr = os.Stderr, os.Stderr
	if err := c.Start(); err != nil {
		cancel()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = c.Wait() // it was killed
	})
	// It answers before it has read the list.
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		name := fmt.Sprintf("n%d.suffix.example", time.Now().UnixNano())
		if sentToListed(t, addr, []string{name})[name] {
			return addr
		}
		if time.Now().After(end) {
			t.Fatal("mihomo does not take the list up")
		}
	}
}

// TestPeerSingbox: sing-box matches the same names as we do with the rule-sets that it
// compiles.
func TestPeerSingbox(t *testing.T) {
	singbox := peer(t, "sing-box")
	var names []string
	for i, n := range aboutNames() {
		if i%3 == 0 || strings.HasSuffix(n, ".test") { // each is a process
			names = append(names, n)
		}
	}
	for _, version := range []string{"1", "2"} {
		file := filepath.Join(t.TempDir(), "rules.srs")
		runPeer(t, singbox, "rule-set", "compile", "testdata/peers/rules"+version+".json", "-o", file)
		theirs := map[string]bool{}
		for _, n := range names {
			theirs[n] = strings.Contains(runPeer(t, singbox, "rule-set", "match", "-f", "binary", file, n), "match rules")
		}
		if diff := cmp.Diff(theirs, reading(t, file, names)); diff != "" {
			t.Errorf("version %s (-sing-box +nameroute):\n%s", version, diff)
		}
	}
}
