package test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nameroute/nameroute/test/netlab"
)

// backWithin bounds every gap in these tests. It is generous, for a busy machine with
// the race detector; what is measured is logged.
const backWithin = 60 * time.Second

// changingWorld is a gate under which the world moves while traffic runs: flows of listed
// names over TCP and UDP in both families (400 packets a second), new flows from the
// client and from the box itself, and queries about listed names.
type changingWorld struct {
	*gate
	args    []string
	kept    []netip.Addr // that the flows go to
	fresh   []netip.Addr // that new flows go to
	others  []netip.Addr // of a name on no list
	flows   *flows
	flood   *flood
	asked   *asking
	began   time.Time
	before  int64        // packets that the flows had sent then
	inside  []netip.Addr // resolvers that are asked through the tunnel alone
	foreign string       // what other programs have set up, and must be there in the end
}

// newChangingWorld starts nameroute beside rules, routing tables and sysctls of another program.
func newChangingWorld(t *testing.T, o netlab.Options, s netlab.Setup, prepare func(*gate), args ...string) *changingWorld {
	t.Helper()
	o.GoResolvers = true
	m := &changingWorld{gate: bareGate(t, o), args: args}
	m.putForeign()
	if s.VPN == "" {
		m.inside = m.Plan.World.All()
	}
	m.Box.WriteFiles(s)
	if prepare != nil {
		prepare(m.gate)
	}
	m.start(args...)
	m.kept, m.fresh = m.resolve("kept.listed.example"), m.resolve("fresh.listed.example")
	m.others = m.resolve("www.other.example")
	m.foreign = m.foreignState()
	m.flows = m.gate.flows(m.Client, netlab.ViaVPN, m.kept...)
	m.Reset()
	m.flood = m.gate.flood(netlab.ViaVPN, m.fresh...)
	m.asked = m.ask("listed.example")
	time.Sleep(200 * time.Millisecond) // traffic before anything happens
	m.flows.resetGap()
	m.began, m.before = time.Now(), int64(m.flows.sent())
	return m
}

// putForeign sets up what is not ours: policy rules before and after ours, a routing
// table, and a sysctl of an interface.
func (m *changingWorld) putForeign() {
	m.t.Helper()
	m.Box.Sh(`ip rule add pref 5000 from 198.51.100.0/24 lookup 100; ip -6 rule add pref 5000 from 2001:db8:5::/48 lookup 100
		ip rule add pref 9000 fwmark 0x80/0xff lookup 100; ip -6 rule add pref 9000 fwmark 0x80/0xff lookup 100
		ip route add unreachable 203.0.113.0/24 table 100; ip -6 route add unreachable 2001:db8:9::/48 table 100`)
	m.Box.Sysctl("net/ipv4/conf/lan0/rp_filter=1", "net/ipv4/conf/br-lan/log_martians=1")
}

func (m *changingWorld) foreignState() string {
	m.t.Helper()
	return m.Box.Sh(`ip rule | grep -v 'proto 110'; ip -6 rule | grep -v 'proto 110'
		ip route show table 100; ip -6 route show table 100
		sysctl net.ipv4.conf.lan0.rp_filter net.ipv4.conf.br-lan.log_martians`)
}

// step does something to the world and waits until all goes on: flows of listed
// names, new ones, queries about any name, and other names via the WAN.
func (m *changingWorld) step(what string, do func()) {
	m.t.Helper()
	m.flows.resetGap()
	at := time.Now()
	do()
	m.back(what, at)
}

// disturb is step for what is repaired: the kernel must be as it was.
func (m *changingWorld) disturb(what string, do func()) {
	m.t.Helper()
	before := m.routingState()
	m.step(what, func() {
		at := time.Now()
		do()
		if netlab.Poll(backWithin, func() error { return netlab.Check(m.routingState() == before, "not yet") }) != nil {
			m.wantSame(what+": after "+backWithin.String(), before, m.routingState())
			return
		}
		m.t.Logf("%s: seen put right after %v", what, round(time.Since(at)))
	})
}

func (m *changingWorld) back(what string, at time.Time) {
	m.t.Helper()
	m.flows.wantProgress()
	tcp, udp := m.flows.worst()
	m.Box.AwaitNames("back.listed.example", backWithin)
	listed := time.Since(at)
	m.awaitVia(m.Client, netlab.ViaVPN, backWithin, m.fresh...)
	m.awaitVia(m.Client, netlab.ViaWAN, backWithin, m.others...)
	byWAN := time.Since(at)
	m.Box.AwaitNames("back.other.example", backWithin)
	m.t.Logf("%s: worst gap of listed flows over TCP %v, over UDP %v; listed names answered after %v, others via the WAN after %v, their names after %v",
		what, tcp, udp, round(listed), round(byWAN), round(time.Since(at)))
	if worst := max(tcp, udp); worst > backWithin {
		m.t.Errorf("%s: a gap of %v", what, worst)
	}
}

func round(d time.Duration) time.Duration { return d.Round(time.Millisecond) }

// awaitLogged waits until something has been logged so many times.
func (g *gate) awaitLogged(text string, times int) {
	g.t.Helper()
	netlab.Eventually(g.t, backWithin, func() error {
		n := strings.Count(g.p.Output(), text)
		return netlab.Check(n >= times, "%q is %d times in the log, want %d", text, n, times)
	})
}

// end stops the new flows and wants that what other programs set up is there, that a fresh
// start finds nothing to change, and that not one packet and not one query went via
// the WAN, that start included.
func (m *changingWorld) end() {
	m.t.Helper()
	n := m.flood.stop(m.gate)
	m.asked.end()
	took := time.Since(m.began)
	sent := int64(m.flows.sent()) - m.before + n
	m.t.Logf("in %v: %d packets sent by listed flows and new ones (%.0f a second), %d seen inside the tunnel; %d of %d queries answered",
		round(took), sent, float64(sent)/took.Seconds(), len(m.Tunnel.Inside()), m.asked.answered.Load(), m.asked.sent.Load())
	if least := 50 / int64(netlab.Slack()); sent < least*int64(took/time.Second) {
		m.t.Errorf("less than %d packets a second prove little", least)
	}
	m.wantSame("of what is not ours", m.foreign, m.foreignState())
	m.wantAsFresh()
	m.wantNoneClear(slices.Concat(m.kept, m.fresh, m.inside)...)
	m.wantNoQueryByWAN("listed.example")
}

// wantAsFresh wants the kernel as a fresh start makes it.
func (m *changingWorld) wantAsFresh() {
	m.t.Helper()
	m.wantSettledTable()
	before := m.fullState()
	if err := m.p.Stop(); err != nil {
		m.t.Errorf("SIGTERM: ended with %v", err)
	}
	m.start(m.args...)
	m.wantSettledTable()
	m.wantSame("after a fresh start", before, m.fullState())
}

// fullState is kernelState, the tunnel's device and the sysctls.
func (m *changingWorld) fullState() string { return m.kernelState() + m.routingState() }

// routingState is what the sidecar has set up. Any of it may be missing.
func (m *changingWorld) routingState() string {
	m.t.Helper()
	return m.Box.Sh(`exec 2>/dev/null; set +e
		ip rule; ip -6 rule; ip -4 route show table all proto 110; ip -6 route show table all proto 110
		ip -o addr show dev wg0 | sed 's/^[0-9]*: //; s/valid_lft.*//'; ip link show dev wg0 | grep -o 'mtu [0-9]*'
		wg showconf wg0 | grep -v '^\(ListenPort\|Endpoint\)'
		cd /proc/sys/net; grep . ipv4/conf/*/forwarding ipv4/conf/*/rp_filter ipv6/conf/*/forwarding ipv6/conf/*/accept_ra
		true`)
}
