package test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/test/netlab"
)

// protos are the ways in which the client asks the box: both transports, to both of
// its addresses.
var protos = []string{"udp", "tcp", "udp6", "tcp6"}

// lookup asks the box for records of a name; an answer other than NOERROR is an error.
func (g *gate) lookup(from *netlab.Host, name string, qtype uint16, proto string) (*dns.Msg, error) {
	m := new(dns.Msg).SetQuestion(dns.Fqdn(name), qtype)
	m.SetEdns0(1232, false)
	reply, err := from.Query(m, proto)
	if err == nil && reply.Rcode != dns.RcodeSuccess {
		err = fmt.Errorf("answered %s", dns.RcodeToString[reply.Rcode])
	}
	if err != nil {
		return nil, fmt.Errorf("%s %s over %s: %w", name, dns.TypeToString[qtype], proto, err)
	}
	return reply, nil
}

// query is lookup from the client for what must be answered.
func (g *gate) query(name string, qtype uint16, proto string) *dns.Msg {
	g.t.Helper()
	reply, err := g.lookup(g.Client, name, qtype, proto)
	if err != nil {
		g.t.Fatal(err)
	}
	return reply
}

// addressesIn are the addresses in an answer's A and AAAA records.
func addressesIn(m *dns.Msg) []netip.Addr {
	var addrs []netip.Addr
	for _, rr := range m.Answer {
		switch rr := rr.(type) {
		case *dns.A:
			a, _ := netip.AddrFromSlice(rr.A.To4())
			addrs = append(addrs, a)
		case *dns.AAAA:
			a, _ := netip.AddrFromSlice(rr.AAAA.To16())
			addrs = append(addrs, a)
		}
	}
	return addrs
}

// sets is the words of what `nft list set` shows of a route's two sets.
func (g *gate) sets(route string) []string {
	g.t.Helper()
	text := g.Box.Run("nft", "list", "set", "inet", "nameroute", route+"4") +
		g.Box.Run("nft", "list", "set", "inet", "nameroute", route+"6")
	return strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(" ,\t\n", r) })
}

// wantLearned wants each address in the route's sets.
func (g *gate) wantLearned(route string, addrs ...netip.Addr) {
	g.t.Helper()
	words := g.sets(route)
	for _, a := range addrs {
		if !slices.Contains(words, a.String()) {
			g.t.Errorf("%s is not in the sets of %s", a, route)
		}
	}
}

// wantNotLearned wants none of the addresses in the route's sets.
func (g *gate) wantNotLearned(route string, addrs ...netip.Addr) {
	g.t.Helper()
	words := g.sets(route)
	for _, a := range addrs {
		if slices.Contains(words, a.String()) {
			g.t.Errorf("%s is in the sets of %s", a, route)
		}
	}
}

// wantAsked wants that there were queries, all via one egress.
func (g *gate) wantAsked(want netlab.Egress, queries []netlab.Query) {
	g.t.Helper()
	if len(queries) == 0 {
		g.t.Errorf("no server was asked; want a query via %s", want)
	}
	for _, q := range queries {
		if q.Egress != want {
			g.t.Errorf("asked by the wrong egress, want %s: %s", want, q)
		}
	}
}

// numbered makes n names below a domain.
func numbered(n int, domain string) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf("n%d.%s", i, domain)
	}
	return all
}

// addresses of names in the lab's internet.
func (g *gate) addresses(names ...string) []netip.Addr {
	var all []netip.Addr
	for _, n := range names {
		all = append(all, g.World.Addresses(n).All()...)
	}
	return all
}
