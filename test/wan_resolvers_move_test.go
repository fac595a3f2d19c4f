package test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/test/netlab"
)

// `upstream wan` without addresses follows the system's resolvers, however the system
// writes them down, and however dead the old ones are.
func TestWANResolversMove(t *testing.T) {
	t.Parallel()
	setup := netlab.Setup{VPN: " ", WAN: " "} // each route's own
	m := newChangingWorld(t, netlab.Options{}, setup, func(g *gate) { g.ownEtc(); g.resolvConf(inPlace, g.World2.V4) }, quickDown...)
	for n, c := range []struct {
		name  string
		write func(g *gate, text string)
		to    netip.Addr
		dead  *netlab.NameServer // does not answer from then on
	}{
		{"written in place", inPlace, m.Plan.World.V4, nil},
		{"written in place, IPv6", inPlace, m.World2.V6, m.Server(m.Plan.World.V4)},
		{"replaced", replaced, m.Plan.World.V6, m.Server(m.World2.V4)},
		{"behind a stub", behindStub, m.World2.V4, m.Server(m.Plan.World.V4)},
		{"behind a stub, replaced there", behindStub, m.Plan.World.V4, m.Server(m.World2.V4)},
		{"empty first", emptyFirst, m.World2.V6, m.Server(m.Plan.World.V4)},
	} {
		m.Server(c.to).Silence(false)
		if c.dead != nil {
			c.dead.Silence(true)
		}
		stop := m.failing("gone.other.example")
		m.step(c.name, func() {
			m.resolvConf(c.write, c.to)
			written := time.Now()
			m.awaitLogged("the WAN's resolvers have changed", n+1)
			t.Logf("%s: noticed after %v", c.name, round(time.Since(written)))
		})
		stop()
		m.askedOnly(c.name, c.to)
	}
	m.end()
}

// failing queries names via the WAN meanwhile, so that resolvers that are dead count
// as unhealthy when they are left, and when they come back.
func (g *gate) failing(domain string) (stop func()) {
	asked := g.ask(domain)
	time.Sleep(100 * time.Millisecond)
	return asked.end
}

// askedOnly wants fresh names of other.example asked of one resolver alone, via the WAN,
// and answered.
func (g *gate) askedOnly(when string, at netip.Addr) {
	g.t.Helper()
	domain := fmt.Sprintf("%x.other.example", when)
	for n := range 5 {
		reply, err := g.Client.Query(new(dns.Msg).SetQuestion(fmt.Sprintf("n%d.%s.", n, domain), dns.TypeA), protos[n%len(protos)])
		if err != nil || reply.Rcode != dns.RcodeSuccess {
			g.t.Errorf("%s: %v, %v", when, reply, err)
		}
	}
	for _, q := range g.World.Queries(domain) {
		if q.Server != at || q.Egress != netlab.ViaWAN {
			g.t.Errorf("%s: asked the wrong one, want %s via the WAN: %s", when, at, q)
		}
	}
}

// ownEtc gives the box an /etc of its own that can be written as a system's can, and
// hides what the DHCP and PPP clients of the machine that tests run on have recorded.
func (g *gate) ownEtc() {
	g.t.Helper()
	g.Box.Sh(`umount /etc/resolv.conf
		mkdir -p /run/etc/upper /run/etc/work /run/systemd/resolve
		mount -t overlay overlay -o lowerdir=/etc,upperdir=/run/etc/upper,workdir=/run/etc/work /etc
		rm -rf /etc/resolv.conf /etc/ppp; touch /etc/resolv.conf
		for d in /var/lib/dhcp /var/lib/dhclient; do [ ! -d $d ] || mount -t tmpfs tmpfs $d; done`)
}

// resolvConf names a resolver in one of the ways that systems have.
func (g *gate) resolvConf(write func(*gate, string), at netip.Addr) {
	g.t.Helper()
	write(g, fmt.Sprintf("# a lease\nsearch lan\nnameserver %s\n", at))
}

// inPlace is dhclient's own script.
func inPlace(g *gate, text string) { g.put("cat > /etc/resolv.conf", text) }

// replaced is what resolvconf and NetworkManager do.
func replaced(g *gate, text string) {
	g.put("cat > /etc/resolv.conf.new; mv /etc/resolv.conf.new /etc/resolv.conf", text)
}

// behindStub is systemd-resolved.
func behindStub(g *gate, text string) {
	g.put(`cat > /run/systemd/resolve/resolv.conf.new
		echo nameserver 127.0.0.53 > /run/systemd/resolve/stub-resolv.conf
		ln -sf ../run/systemd/resolve/stub-resolv.conf /etc/resolv.conf
		mv /run/systemd/resolve/resolv.conf.new /run/systemd/resolve/resolv.conf`, text)
}

// emptyFirst is a lease that ends before the next begins.
func emptyFirst(g *gate, text string) {
	g.put("rm -r /run/systemd/resolve /etc/resolv.conf; : > /etc/resolv.conf", "")
	g.p.WaitOutput("the last ones stay in use", 5*time.Second)
	inPlace(g, text)
}

func (g *gate) put(script, text string) {
	g.t.Helper()
	if out, err := g.Box.ExecInput(text, "sh", "-ec", strings.TrimSpace(script)); err != nil {
		g.t.Fatalf("%v\n%s", err, out)
	}
}
