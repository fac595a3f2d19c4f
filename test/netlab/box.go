//go:build linux

package netlab

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// Box is the home gateway that the product runs on. Its files are those of a real
// one in a directory of the lab: Dir/gateway.yaml, Dir/Corefile, Dir/state.
type Box struct {
	*Host
	Dir string
}

func newBox(l *Lab) *Box {
	return &Box{Host: l.host("box"), Dir: filepath.Join(l.Dir, "box", "etc")}
}

// Write stores a file under Dir, replacing the old one at once as an editor does,
// and returns its path.
func (b *Box) Write(name, text string) string {
	b.t.Helper()
	return b.lab.replace(filepath.Join("box", "etc", name), text)
}

// Setup is the user's files of the most usual gateway: one tunnel, one list, the
// ISP's resolver for everything else. Empty fields have these defaults.
type Setup struct {
	Listed   []string // entries of list "mine"; default listed.example
	OnDown   string   // block or wan; default block
	VPN      string   // upstream addresses of the tunnel's block; default World over UDP
	WAN      string   // upstream addresses of the other block; default the ISP's resolver
	Conf     string   // the provider's file; default WireGuardConf
	Gateway  string   // more lines of gateway.yaml, at the top level
	Route    string   // more lines of route vpn, without indentation
	Plugins  string   // more lines of both server blocks
	NoTunnel bool     // no provider's file is written
}

// WriteFiles writes wg0.conf, mine.txt, gateway.yaml and Corefile for a setup.
func (b *Box) WriteFiles(s Setup) {
	b.t.Helper()
	or := func(value *string, standard string) {
		if *value == "" {
			*value = standard
		}
	}
	if len(s.Listed) == 0 {
		s.Listed = []string{"listed.example"}
	}
	or(&s.OnDown, "block")
	or(&s.VPN, b.lab.Plan.World.V4.String())
	or(&s.WAN, b.lab.Plan.ISP.V4.String())
	or(&s.Conf, b.lab.WireGuardConf())
	if !s.NoTunnel {
		b.Write("wg0.conf", s.Conf)
	}
	b.Write("mine.txt", strings.Join(s.Listed, "\n")+"\n")
	b.Write("gateway.yaml", fmt.Sprintf(`lan: [br-lan]
wan: auto
%sroutes:
  vpn:
    wireguard: %s
    on_down: %s
%slists:
  mine:
    file: %s
`, lines(s.Gateway), filepath.Join(b.Dir, "wg0.conf"), s.OnDown, indent(s.Route, "    "), filepath.Join(b.Dir, "mine.txt")))
	b.Write("Corefile", fmt.Sprintf(`. {
    listed mine
    route vpn
%[1]s    cache
    upstream vpn %[2]s
}
. {
%[1]s    cache
    upstream wan %[3]s
}
`, indent(s.Plugins, "    "), s.VPN, s.WAN))
}

func indent(text, by string) string {
	if text == "" {
		return ""
	}
	return by + strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n"+by) + "\n"
}

// Flags are the product's flags for the box's files.
func (b *Box) Flags() []string {
	return []string{"--config", filepath.Join(b.Dir, "gateway.yaml"), "--corefile", filepath.Join(b.Dir, "Corefile"),
		"--state", b.State()}
}

// State is the product's state directory.
func (b *Box) State() string { return filepath.Join(b.lab.Dir, "box", "state") }

// Launch starts the product (binary, subcommand and so on, then Flags) and does not
// wait. It trusts the lab's CA. /run is the box's own.
func (b *Box) Launch(binary string, args ...string) *Process {
	b.t.Helper()
	command := append(append([]string{binary}, args...), b.Flags()...)
	return b.StartEnv(b.Env(), command...)
}

// Env is what the product needs in its environment to trust the lab's CA.
func (b *Box) Env() []string { return []string{"SSL_CERT_FILE=" + b.lab.ca.File} }

// StartProduct is Launch, and waits until it answers the client's queries over UDP;
// if that takes over 30 s, or it ends before, the test ends.
func (b *Box) StartProduct(binary string, args ...string) *Process {
	b.t.Helper()
	p := b.Launch(binary, args...)
	b.AwaitDNS(p, patience)
	return p
}

// AwaitDNS waits until the box answers the client, whatever the answer is.
func (b *Box) AwaitDNS(p *Process, limit time.Duration) {
	b.t.Helper()
	m := new(dns.Msg).SetQuestion("ready."+ownZone+".", dns.TypeA)
	at := netip.AddrPortFrom(b.lab.BoxLAN.V4, 53)
	Eventually(b.t, limit, func() error {
		_, err := b.lab.Client.exchange("udp", at, m, 500*time.Millisecond)
		if err != nil && p.Ended() {
			b.t.Fatalf("netlab: %s: ended (%v) before it answered a query:\n%s", p.name, p.err, p.Output())
		}
		return Check(err == nil, "netlab: %s: no answer: %v\n%s", p.name, err, p.Output())
	})
}

// AwaitNames waits until the box answers NOERROR for names below domain, a new one
// each time: a resolver keeps a failure for some seconds. After it the product's own
// answers for that domain work, with whatever they need (tunnel, handshake).
func (b *Box) AwaitNames(domain string, limit time.Duration) {
	b.t.Helper()
	n := 0
	Eventually(b.t, limit, func() error {
		n++
		_, err := b.lab.Client.Resolve(fmt.Sprintf("ready%d.%s", n, domain))
		return err
	})
}

// AwaitEgress waits until some routing table of the box has an IPv4 default route by
// a link, which is how the product says that the link's route is up.
func (b *Box) AwaitEgress(link string, limit time.Duration) {
	b.t.Helper()
	Eventually(b.t, limit, func() error {
		out, err := b.Exec("ip", "-4", "route", "show", "table", "all", "default", "dev", link)
		return Check(err == nil && out != "", "netlab: no default route by %s: %v", link, err)
	})
}
