package instance

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/coredns/coredns/request"
	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/gateway/dataplane"
)

// Asked is a query of a client that was not sent.
type Asked struct {
	Name   string // fqdn
	Type   uint16
	Client netip.AddrPort
	At     netip.Addr // the address of this box that it asks
	Port   string     // of plain DNS, where queries of the client's class arrive
}

// NameFacts are what the lists in force and the blocks say of a name.
type NameFacts struct {
	Lists   []string // that hold it, exceptions considered
	Claimed bool     // a list has an entry or an exception for it
	Alias   []string // the lists that it counts as listed on, because an answer for a listed name leads to it
	Domain  string   // of that name
	Until   time.Time
	Blocks  []BlockFacts
}

// Standing says what a block has to do with a query.
type Standing string

// The standings.
const (
	Answers   Standing = "answers"   // it answers
	After     Standing = "after"     // it would, and comes after the one that does
	Filtered  Standing = "filtered"  // its lists do not hold the name, or its view does not choose it
	OtherZone Standing = "zone"      // none of its zones holds the name
	Narrower  Standing = "narrower"  // a block of a zone within its own answers
	Elsewhere Standing = "elsewhere" // it is served for another class, at another port or address
)

// BlockFacts is a block, in the order of the Corefile, and what it has to do with a query.
type BlockFacts struct {
	BlockStatus
	Zone     string // its zone that holds the name
	Standing Standing
}

// Explain returns what is known of a query's name; ok is false where nothing runs for the
// gateway.yaml. It asks nobody.
func Explain(file string, q Asked) (f NameFacts, d *dataplane.Controller, ok bool) {
	registry.Lock()
	b := registry.bindings[resolveLocked(file)]
	var i *instance
	if b != nil && len(b.living) > 0 {
		i = b.living[len(b.living)-1]
	}
	registry.Unlock()
	if i == nil {
		return f, nil, false
	}
	m := b.dataplane.Index().Match(q.Name)
	f.Lists, f.Claimed = m.Lists(), m.Claimed()
	lower := strings.ToLower(q.Name)
	f.Alias = b.aliases.Lists(lower)
	f.Domain, f.Until = b.aliases.Domain(lower)
	f.Blocks = i.explain(q)
	return f, b.dataplane, true
}

// explain tries the blocks as CoreDNS does: those of the most specific zone first, and of
// one zone in their order.
func (i *instance) explain(q Asked) []BlockFacts {
	var ids []uintptr
	var all []BlockFacts
	best := -1 // of the zone that answers
	for _, z := range i.zones {
		n := slices.Index(ids, z.block)
		if n < 0 {
			n = len(ids)
			ids, all = append(ids, z.block), append(all, BlockFacts{BlockStatus: i.newBlockStatus(z), Standing: OtherZone})
		}
		b := &all[n]
		if !slices.Contains(b.Zones, z.name) {
			b.Zones = append(b.Zones, z.name)
		}
		if !within(strings.ToLower(q.Name), z.name) {
			continue
		}
		if !z.serves(q) {
			if b.Standing == OtherZone {
				b.Standing = Elsewhere
			}
			continue
		}
		if labels := dns.CountLabel(z.name); b.Standing != OtherZone && b.Standing != Elsewhere && labels <= dns.CountLabel(b.Zone) {
			continue
		}
		b.Zone, b.Standing = z.name, Filtered
		if z.passes(q) {
			b.Standing = After
			best = max(best, dns.CountLabel(z.name))
		}
	}
	answered := false
	for n := range all {
		b := &all[n]
		switch labels := dns.CountLabel(b.Zone); {
		case b.Standing != After && b.Standing != Filtered:
		case labels < best:
			b.Standing = Narrower
		case b.Standing == After && labels == best && !answered:
			b.Standing, answered = Answers, true
		}
	}
	return all
}

// serves reports whether queries of plain DNS that come to the port reach the zone.
func (z zone) serves(q Asked) bool {
	if z.transport != "dns" || z.port != q.Port {
		return false
	}
	return len(z.hosts) == 0 || !q.At.IsValid() || slices.ContainsFunc(z.hosts, func(h string) bool {
		a, err := netip.ParseAddr(h)
		return h == "" || err == nil && (a.IsUnspecified() || a.WithZone("") == q.At.WithZone(""))
	})
}

// passes reports whether the block's views choose it.
func (z zone) passes(q Asked) bool {
	if len(z.config.FilterFuncs) == 0 {
		return true
	}
	r := &request.Request{Req: new(dns.Msg).SetQuestion(q.Name, q.Type), W: unsent{q}}
	for _, f := range z.config.FilterFuncs {
		if !f(context.Background(), r) {
			return false
		}
	}
	return true
}

// unsent is the writer of a query that is not answered.
type unsent struct{ q Asked }

func (n unsent) LocalAddr() net.Addr       { return net.UDPAddrFromAddrPort(netip.AddrPortFrom(n.q.At, 53)) }
func (n unsent) RemoteAddr() net.Addr      { return net.UDPAddrFromAddrPort(n.q.Client) }
func (unsent) WriteMsg(*dns.Msg) error     { return nil }
func (unsent) Write(b []byte) (int, error) { return len(b), nil }
func (unsent) Close() error                { return nil }
func (unsent) TsigStatus() error           { return nil }
func (unsent) TsigTimersOnly(bool)         {}
func (unsent) Hijack()                     {}
