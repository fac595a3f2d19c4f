package test

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/test/netlab"
)

// rules are those of all answers; nameroute may break none of them.
var rules = []string{"answers", "header", "EDNS", "TTL", "UDP size", "TC only if needed"}

// Names and types in all modes, cold and warm, on the list and not, are answered as the
// upstream answers them. `make conform` holds unbound, dnsmasq, smartdns and a plain
// CoreDNS beside nameroute and prints the table.
func TestConform(t *testing.T) {
	t.Parallel()
	g := bareGate(t, netlab.Options{GoResolvers: true})
	g.Box.WriteFiles(netlab.Setup{})
	at := netip.AddrPortFrom(g.Plan.World.V4, 5300)
	g.Box.Write("Corefile", strings.NewReplacer("upstream vpn", "upstream vpn "+at.String(), "upstream wan", "upstream wan "+at.String()).Replace(readmeCorefile(t, "listed mine")))
	up := &scripted{}
	up.serve(g, at)
	g.start()
	subjects := []*subject{{name: "nameroute", at: netip.AddrPortFrom(g.BoxLAN.V4, 53), patience: 8 * time.Second}}
	peers := os.Getenv("NAMEROUTE_CONFORM") != ""
	if peers {
		subjects = append(subjects, g.peers(at)...)
	}
	for n, s := range subjects {
		s.g, s.up, s.faults, s.tried = g, up, map[string][]string{}, map[string]int{}
		for i, w := range modes {
			if !peers && i%2 == 1 && w.name != "DO" { // `make test` takes a sample
				continue
			}
			for _, below := range []string{"listed", "other"} {
				if n == 0 || below == "other" {
					s.compare(w, fmt.Sprintf("s%dw%d.%s.example.", n, i, below))
				}
			}
		}
		for _, c := range scenes {
			if peers || c.must {
				c.play(s.in(n))
			}
		}
	}
	must := slices.Clone(rules)
	for _, c := range scenes {
		if c.must {
			must = append(must, c.rule)
		}
	}
	for _, rule := range must {
		if f := subjects[0].faults[rule]; len(f) > 0 {
			t.Errorf("%s: %d faults, such as\n\t%s", rule, len(f), strings.Join(f[:min(len(f), 5)], "\n\t"))
		}
	}
	if peers {
		fmt.Print(table(subjects))
	}
}

// in has the scenes of a subject use names of their own.
func (s *subject) in(n int) *subject {
	own := *s
	own.prefix = fmt.Sprintf("s%d", n)
	return &own
}

// table shows what each subject does otherwise than it should.
func table(subjects []*subject) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	all := slices.Clone(rules)
	for _, c := range scenes {
		all = append(all, c.rule)
	}
	fmt.Fprint(w, "faults in")
	for _, s := range subjects {
		fmt.Fprintf(w, "\t%s", s.name)
	}
	for _, rule := range all {
		fmt.Fprintf(w, "\n%s", rule)
		for _, s := range subjects {
			switch n := len(s.faults[rule]); {
			case n == 0:
				fmt.Fprint(w, "\t-")
			case slices.Contains(rules, rule):
				fmt.Fprintf(w, "\t%d of %d", n, s.tried["answers"])
			default:
				fmt.Fprint(w, "\tyes")
			}
		}
	}
	fmt.Fprintln(w)
	w.Flush()
	for _, s := range subjects {
		for _, rule := range all {
			if f := s.faults[rule]; len(f) > 0 {
				fmt.Fprintf(&b, "%s, %s: %.200s\n", s.name, rule, strings.Join(strings.Fields(f[0]), " "))
			}
		}
	}
	return b.String()
}

// peers starts the other resolvers on the box, with the same upstream.
func (g *gate) peers(up netip.AddrPort) []*subject {
	g.t.Helper()
	coredns := filepath.Join(g.Box.Dir, "coredns")
	if out, err := exec.Command("go", "build", "-o", coredns, "./plaincoredns").CombinedOutput(); err != nil {
		g.t.Fatalf("%v\n%s", err, out)
	}
	all := []struct {
		name  string
		start []string
	}{
		{"unbound", []string{"unbound", "-d", "-c", g.Box.Write("unbound.conf", fmt.Sprintf(`server:
	interface: %s@5301
	access-control: 0.0.0.0/0 allow
	username: ""
	chroot: ""
	pidfile: ""
	use-syslog: no
	module-config: "iterator"
	local-zone: "example." nodefault
	num-threads: 1
remote-control:
	control-enable: no
forward-zone:
	name: "."
	forward-addr: %s@%d
`, g.BoxLAN.V4, up.Addr(), up.Port()))}},
		{"dnsmasq", []string{"dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--user=root", "--pid-file=", "--port=5302", "--cache-size=10000",
			"--no-resolv", "--no-hosts", "--bind-interfaces", "--listen-address=" + g.BoxLAN.V4.String(), fmt.Sprintf("--server=%s#%d", up.Addr(), up.Port())}},
		{"smartdns", []string{"smartdns", "-f", "-x", "-p", "-", "-c", g.Box.Write("smartdns.conf", fmt.Sprintf(
			"bind %[1]s:5303\nbind-tcp %[1]s:5303\nserver %[2]s\nlog-level error\nspeed-check-mode none\ncache-persist no\n", g.BoxLAN.V4, up))}},
		{"coredns", []string{coredns, "-conf", g.Box.Write("Corefile.plain", fmt.Sprintf(".:5304 {\n    bind %s\n    cache\n    forward . %s\n}\n", g.BoxLAN.V4, up))}},
	}
	var out []*subject
	for i, p := range all {
		process := g.Box.Start(p.start...)
		s := &subject{name: p.name, at: netip.AddrPortFrom(g.BoxLAN.V4, uint16(5301+i)), g: g, patience: time.Second}
		netlab.Eventually(g.t, 10*time.Second, func() error {
			_, _, err := s.ask(false, new(dns.Msg).SetQuestion("www.ready.example.", dns.TypeA))
			if err != nil {
				err = fmt.Errorf("%s does not answer: %w\n%s", p.name, err, process.Output())
			}
			return err
		})
		out = append(out, s)
	}
	return out
}
