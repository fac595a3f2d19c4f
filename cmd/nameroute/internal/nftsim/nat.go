package nftsim

import (
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// TranslatesSource reports whether a rule may translate the source addresses of what
// leaves by an interface.
func (rs *Ruleset) TranslatesSource(out string) bool {
	for _, c := range rs.chains {
		if c.family == nftables.TableFamilyIPv6 {
			continue
		}
		for _, r := range c.rules {
			if slices.ContainsFunc(r.Exprs, isSourceNAT) {
				if match, _ := rs.eval(c, r, Flow{Out: out}); match != no {
					return true
				}
			}
		}
	}
	return false
}

// isSourceNAT reports whether a statement changes a packet's source.
func isSourceNAT(e expr.Any) bool {
	switch e := e.(type) {
	case *expr.Masq:
		return true
	case *expr.NAT:
		return e.Type == expr.NATTypeSourceNAT
	case *expr.Target:
		return e.Name == "MASQUERADE" || e.Name == "SNAT" || e.Name == "NETMAP"
	}
	return false
}

// RedirectsPort returns a chain with a rule that changes the destination of packets which
// come in by an interface and go to a port, or nil.
func (rs *Ruleset) RedirectsPort(in string, port uint16) *Chain {
	var found []*Chain
	for _, c := range rs.chains {
		if !rs.hasDestNAT(c) {
			continue
		}
		for _, rule := range c.rules {
			if slices.ContainsFunc(rule.Exprs, isDestNAT) && rs.isAboutPort(c, rule, in, port) {
				found = append(found, c)
			}
		}
	}
	if len(found) == 0 {
		return nil
	}
	return slices.MinFunc(found, func(a, b *Chain) int { return strings.Compare(a.String(), b.String()) })
}

// hasDestNAT reports whether a chain's table has a base chain for destination NAT.
func (rs *Ruleset) hasDestNAT(c *Chain) bool {
	return slices.ContainsFunc(rs.bases, func(b *Chain) bool {
		return b.family == c.family && b.table == c.table && b.base.Type == nftables.ChainTypeNAT && *b.base.Hooknum == *nftables.ChainHookPrerouting
	})
}

// isAboutPort reports whether a rule may match packets to a port, and certainly matches
// none to the next port.
func (rs *Ruleset) isAboutPort(c *Chain, rule *nftables.Rule, in string, port uint16) bool {
	for _, proto := range []byte{unix.IPPROTO_UDP, unix.IPPROTO_TCP} {
		f := Flow{In: in, Proto: proto, IPv6: c.family == nftables.TableFamilyIPv6, Port: port}
		other := f
		other.Port = port + 1
		here, _ := rs.eval(c, rule, f)
		there, _ := rs.eval(c, rule, other)
		if here != no && there == no {
			return true
		}
	}
	return false
}

// isDestNAT reports whether a statement changes a packet's destination.
func isDestNAT(e expr.Any) bool {
	switch e := e.(type) {
	case *expr.Redir:
		return true
	case *expr.NAT:
		return e.Type == expr.NATTypeDestNAT
	case *expr.Target:
		return e.Name == "REDIRECT" || e.Name == "DNAT"
	}
	return false
}
