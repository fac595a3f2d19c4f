package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/nameroute/nameroute/gateway/firewall"
	"github.com/nameroute/nameroute/plugin/dnshalf"
)

// checkRedirect looks whether `redirect_dns` can do what it says, and whether somebody
// else's rule sends the same questions somewhere.
func (h *hostCheck) checkRedirect(r *report, listeners []firewall.Listener) {
	if !h.cfg.Redirect.On || len(h.cfg.LAN) == 0 {
		return
	}
	if err := dnshalf.Unredirected(firewall.Spec{Config: h.cfg, Listeners: listeners}, true); err != nil {
		r.warn("%v", err)
	}
	if h.rules == nil {
		return
	}
	for _, lan := range h.lan {
		if c := h.rules.sendsQuestions(lan); c != nil {
			by := ""
			if m := h.rules.manager(c.chainKey); m != "" {
				by = fmt.Sprintf(" (%s)", m)
			}
			r.warn("nft chain %s%s sends the questions of %s on, too, and which of it and redirect_dns wins depends on their order: keep one of the two", c, by, lan)
		}
	}
}

// sendsQuestions finds a chain with a rule that changes where packets from an interface
// to port 53 go, or nil.
func (rs *ruleset) sendsQuestions(in string) *chain {
	var found []*chain
	for _, c := range rs.chains {
		if !rs.translatesTable(c) {
			continue
		}
		for _, rule := range c.rules {
			if slices.ContainsFunc(rule.Exprs, sendsOn) && rs.aboutPort(c, rule, in, 53) {
				found = append(found, c)
			}
		}
	}
	if len(found) == 0 {
		return nil
	}
	return slices.MinFunc(found, func(a, b *chain) int { return strings.Compare(a.String(), b.String()) })
}

// translatesTable reports whether a chain's table has a chain that translates what comes in.
func (rs *ruleset) translatesTable(c *chain) bool {
	return slices.ContainsFunc(rs.bases, func(b *chain) bool {
		return b.family == c.family && b.table == c.table && b.base.Type == nftables.ChainTypeNAT && *b.base.Hooknum == *nftables.ChainHookPrerouting
	})
}

// aboutPort reports whether a rule may match packets to a port, and surely none to others.
func (rs *ruleset) aboutPort(c *chain, rule *nftables.Rule, in string, port uint16) bool {
	for _, proto := range []byte{unix.IPPROTO_UDP, unix.IPPROTO_TCP} {
		f := flow{iif: in, proto: proto, v6: c.family == nftables.TableFamilyIPv6, dport: port}
		other := f
		other.dport = port + 1
		here, _ := rs.eval(c, rule, f)
		there, _ := rs.eval(c, rule, other)
		if here != no && there == no {
			return true
		}
	}
	return false
}

// sendsOn reports whether a statement changes a packet's destination.
func sendsOn(e expr.Any) bool {
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
