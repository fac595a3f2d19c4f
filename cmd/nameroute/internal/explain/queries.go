package explain

import (
	"context"
	"net/netip"
	"slices"

	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/check"
	"github.com/nameroute/nameroute/corefile"
	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/plugin/pkg/chain"
)

// localData are the plugins that answer by themselves.
var localData = []string{"hosts", "leases", "home", "file", "auto", "secondary", "template", "rewrite", "ddr", "local", "whoami", "chaos", "erratic", "acl", "any"}

// queries completes what was answered: where it came from, and what is missing in it.
func (l *look) queries(ctx context.Context) {
	block := l.parsed(l.answering())
	for _, q := range l.facts.Queries {
		if q.From == "" && block != nil {
			q.From = above(block)
		}
		if q.Type == "A" || q.Type == "AAAA" {
			q.Removed = l.removed(ctx, q, block)
		}
		l.doc.Queries = append(l.doc.Queries, q)
	}
}

// above says where an answer is from that no resolver was asked for; "" where that is not
// known.
func above(b *corefile.Block) string {
	has := func(names ...string) bool {
		return slices.ContainsFunc(b.Directives, func(d corefile.Directive) bool { return slices.Contains(names, d.Name) })
	}
	switch cached := has("cache"); {
	case has("metadata"):
		return "" // it keeps to itself which upstream answered
	case has("forward", "grpc", "dnsredir"):
		return ""
	case cached && !has(localData...):
		return FromCache
	case !cached && has(localData...):
		return FromLocal
	}
	return ""
}

// removed asks the block's resolvers themselves and returns the addresses that nameroute
// leaves out of their answer.
func (l *look) removed(ctx context.Context, q Query, block *corefile.Block) (out []Removed) {
	if block == nil || block.Upstream == nil || q.Error != "" {
		return nil
	}
	for _, u := range check.Uses(l.cfg, &corefile.File{Blocks: []corefile.Block{*block}}) {
		m, err := u.Lookup(ctx, l.cfg, dns.Question{Name: dns.Fqdn(l.doc.Name), Qtype: dns.StringToType[q.Type], Qclass: dns.ClassINET})
		if err != nil {
			continue
		}
		for _, rr := range m.Answer {
			for _, a := range chain.AppendAddresses(nil, rr) {
				if why := l.whyRemoved(a); why != "" && !slices.Contains(q.Addrs, a) {
					out = append(out, Removed{a, u.Text, why})
				}
			}
		}
		return out
	}
	return nil
}

// whyRemoved says why an address is not passed on; "" for one that may only be another one
// of the many that a name has.
func (l *look) whyRemoved(a netip.Addr) string {
	route := l.answering().meant()
	switch s := l.states[route]; {
	case gateway.IsSpecial(a):
		return whyPrivate
	case a.Is6() && route != gateway.WAN && !s.Default6:
		return whyNoIPv6
	}
	return ""
}

const (
	whyPrivate = "private, removed by rebind"
	whyNoIPv6  = "the route has no IPv6"
)
