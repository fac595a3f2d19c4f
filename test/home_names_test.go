package test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/test/netlab"
	"github.com/nameroute/nameroute/test/netlab/wire"
)

// neighbour is one more machine on the LAN, with addresses that end in n.
func (g *gate) neighbour(name string, n int) *netlab.Namespace {
	g.t.Helper()
	host := netlab.NewNamespace(g.t, name)
	link := fmt.Sprintf("lan%d", n)
	host.Sysctl("net/ipv6/conf/default/accept_dad=0", "net/ipv6/conf/default/accept_ra=0")
	netlab.Cable(host, "eth0", g.Box.Namespace, link)
	g.Box.IP("link set " + link + " master br-lan")
	host.IP(fmt.Sprintf("addr add 192.168.77.%d/24 dev eth0", n), fmt.Sprintf("addr add fd77::%d/64 dev eth0 nodad", n),
		"route add default via 192.168.77.1", "route add ::/0 via fd77::1")
	return host
}

// homeGate is a gate with the manners of a home, and a DHCP server on the LAN that
// knows the names of `lan`.
func homeGate(t *testing.T) *gate {
	g := bareGate(t, netlab.Options{GoResolvers: true})
	netlab.Need(t, "dnsmasq")
	dhcp := g.neighbour("dhcp", 3)
	dhcp.Start("dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--user=root", "--pid-file=", "--log-facility=-", "--log-queries",
		"--no-resolv", "--no-hosts", "--bogus-priv", "--local=/lan/", "--host-record=nas.lan,192.168.77.30,fd77::30")
	g.Box.WriteFiles(netlab.Setup{})
	hosts := g.Box.Write("hosts", "192.168.77.40 scanner scanner.home.arpa\n")
	g.Box.Write("Corefile", fmt.Sprintf(`
lan 192.168.77.0/24 fd77::/64 {
    cache
    upstream wan 192.168.77.3 fd77::3
}
. {
    listed mine
    route vpn
    cache
    rebind
    upstream vpn %s
}
. {
    cache
    hosts %s {
        fallthrough
    }
    home
    rebind {
        allow office.example
    }
    upstream wan %s
}
`, g.Plan.World.V4, hosts, g.Plan.ISP.V4))
	g.start()
	g.Reset()
	return g
}

// exchange asks the box for records of a name; any answer is one.
func (g *gate) exchange(name string, qtype uint16, proto string) *dns.Msg {
	g.t.Helper()
	m := new(dns.Msg).SetQuestion(dns.Fqdn(name), qtype)
	m.SetEdns0(1232, true)
	reply, err := g.Client.Query(m, proto)
	if err != nil {
		g.t.Fatalf("%s %s over %s: %v", name, dns.TypeToString[qtype], proto, err)
	}
	return reply
}

// What means something only at home is answered there, and no server outside is queried.
func TestNamesStayHome(t *testing.T) {
	t.Parallel()
	g := homeGate(t)
	kept := []struct {
		name  string
		qtype uint16
		want  int
	}{
		{"printer", dns.TypeA, dns.RcodeNameError}, {"printer", dns.TypeHTTPS, dns.RcodeNameError},
		{"localhost", dns.TypeA, dns.RcodeSuccess}, {"app.localhost", dns.TypeAAAA, dns.RcodeSuccess},
		{"x.onion", dns.TypeA, dns.RcodeNameError}, {"tv.local", dns.TypeAAAA, dns.RcodeNameError},
		{"x.invalid", dns.TypeA, dns.RcodeNameError}, {"x.test", dns.TypeA, dns.RcodeNameError}, {"x.alt", dns.TypeA, dns.RcodeNameError},
		{"tv.home.arpa", dns.TypeA, dns.RcodeNameError}, {"_dns.resolver.arpa", dns.TypeSVCB, dns.RcodeSuccess},
		{"1.1.168.192.in-addr.arpa", dns.TypePTR, dns.RcodeNameError}, {"1.0.0.10.in-addr.arpa", dns.TypePTR, dns.RcodeNameError},
		{strings.Repeat("0.", 28) + "0.0.d.f.ip6.arpa", dns.TypePTR, dns.RcodeNameError},
		{"use-application-dns.net", dns.TypeA, dns.RcodeSuccess}, {"mask.icloud.com", dns.TypeA, dns.RcodeSuccess},
		{"scanner", dns.TypeA, dns.RcodeSuccess}, {"scanner.home.arpa", dns.TypeA, dns.RcodeSuccess},
		{"40.77.168.192.in-addr.arpa", dns.TypePTR, dns.RcodeNameError}, // the DHCP server's zone
	}
	for _, proto := range protos {
		for _, k := range kept {
			if reply := g.exchange(k.name, k.qtype, proto); reply.Rcode != k.want {
				t.Errorf("%s %s over %s: %s, want %s", k.name, dns.TypeToString[k.qtype], proto, dns.RcodeToString[reply.Rcode], dns.RcodeToString[k.want])
			}
		}
	}
	if got := addressesIn(g.exchange("scanner", dns.TypeA, "udp")); !slices.Equal(got, parse("192.168.77.40")) {
		t.Errorf("scanner, which is in the hosts file: %v", got)
	}
	g.Settle()
	if asked := g.World.Queries(); len(asked) > 0 {
		t.Errorf("%d queries left the home, the first: %s", len(asked), asked[0])
	}
	if leaked := g.ISP.Tap.Packets(wire.Went(wire.In), wire.Asks("printer")); len(leaked) > 0 {
		t.Errorf("%d queries seen at the ISP", len(leaked))
	}
	// What others must answer is asked: top-level domains, and the proof that the home's
	// zones are unsigned.
	for _, q := range []struct {
		name  string
		qtype uint16
	}{{"com", dns.TypeNS}, {"com", dns.TypeDS}, {"home.arpa", dns.TypeDS}, {"10.in-addr.arpa", dns.TypeDS}, {"www.other.example", dns.TypeA}} {
		g.exchange(q.name, q.qtype, "udp")
		if len(g.World.Queries(q.name)) == 0 {
			t.Errorf("%s %s was not forwarded", q.name, dns.TypeToString[q.qtype])
		}
	}
}

// The local domain and its reverse names come from the LAN's DHCP server, though
// sockets to it carry the mark of the WAN.
func TestLocalDomainIsForwarded(t *testing.T) {
	t.Parallel()
	g := homeGate(t)
	six, err := dns.ReverseAddr("fd77::30")
	if err != nil {
		t.Fatal(err)
	}
	for _, proto := range protos {
		for name, qtype := range map[string]uint16{"nas.lan": dns.TypeA, "NAS.lan": dns.TypeAAAA} {
			want := map[uint16]string{dns.TypeA: "192.168.77.30", dns.TypeAAAA: "fd77::30"}[qtype]
			if got := addressesIn(g.query(name, qtype, proto)); !slices.Equal(got, parse(want)) {
				t.Errorf("%s over %s: %v, want %s", name, proto, got, want)
			}
		}
		for _, reverse := range []string{"30.77.168.192.in-addr.arpa", six} {
			reply := g.query(reverse, dns.TypePTR, proto)
			if len(reply.Answer) != 1 || !strings.HasSuffix(reply.Answer[0].String(), "\tnas.lan.") {
				t.Errorf("%s over %s: %v", reverse, proto, reply.Answer)
			}
		}
		if reply := g.exchange("absent.lan", dns.TypeA, proto); reply.Rcode != dns.RcodeNameError {
			t.Errorf("absent.lan over %s: %s", proto, dns.RcodeToString[reply.Rcode])
		}
	}
	g.wantNoQueryByWAN("lan")
	if asked := g.World.Queries(); len(asked) > 0 {
		t.Errorf("%d queries left the home, the first: %s", len(asked), asked[0])
	}
}

// No name from outside leads into the home, listed or not, fresh or cached.
func TestRebindingIsFiltered(t *testing.T) {
	t.Parallel()
	g := homeGate(t)
	bad := parse("192.168.77.1", "127.0.0.1", "0.0.0.0", "10.1.2.3", "169.254.169.254", "100.64.0.1", "fd77::2", "fe80::1", "::1",
		"::ffff:192.168.77.2", "64:ff9b::c0a8:4d02", "2002:c0a8:4d02::1")
	var all []string
	for i, a := range bad {
		for _, domain := range []string{"listed.example", "other.example"} {
			name := fmt.Sprintf("evil%d.%s", i, domain)
			g.World.Add(record(name, a), record("mixed."+name, a), record("mixed."+name, good(a)), fmt.Sprintf("led.%s. 60 IN CNAME %s.", name, name))
			if !a.Is4In6() {
				g.World.Add(fmt.Sprintf("%s. 60 IN HTTPS 1 . alpn=h2 %s", name, hint(a)))
			}
			all = append(all, name)
		}
	}
	for n, name := range all {
		proto, a := protos[n%len(protos)], bad[n/2]
		for range 2 { // the second one is cached
			wantNoData(t, g.query(name, typeOf(a), proto))
			wantNoData(t, g.query("led."+name, typeOf(a), proto))
			if got := addressesIn(g.query("mixed."+name, typeOf(a), proto)); !slices.Equal(got, []netip.Addr{good(a)}) {
				t.Errorf("mixed.%s over %s: %v, want only %s", name, proto, got, good(a))
			}
			if a.Is4In6() {
				continue // which cannot be written as a hint
			}
			if got := g.query(name, dns.TypeHTTPS, proto); len(got.Answer) != 1 || strings.Contains(got.Answer[0].String(), "hint") {
				t.Errorf("%s HTTPS over %s: %v", name, proto, got.Answer)
			}
		}
	}
	g.World.Add("intra.office.example. 60 IN A 10.1.2.3")
	if got := addressesIn(g.query("intra.office.example", dns.TypeA, "udp")); !slices.Equal(got, parse("10.1.2.3")) {
		t.Errorf("a name that is allowed: %v", got)
	}
	if !strings.Contains(g.p.Output(), "removed private address") {
		t.Error("nothing is logged of it")
	}
}

// good is an address of the same family that may be answered.
func good(a netip.Addr) netip.Addr {
	if a.Is4() {
		return netip.MustParseAddr("30.200.0.1")
	}
	return netip.MustParseAddr("2a0f:aa::200")
}
