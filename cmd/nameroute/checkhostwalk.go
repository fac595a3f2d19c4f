package main

import (
	"github.com/google/nftables"
	"github.com/google/nftables/expr"
)

// flow is the first packet of a connection that somebody's firewall must let pass.
// What is not set may be anything.
type flow struct {
	iif, oif string // interfaces
	v6       bool
	proto    byte   // 0: any
	dport    uint16 // 0: any
}

// fate is what becomes of a packet in a chain.
type fate int

const (
	undecided fate = iota
	accepted
	dropped
)

// maxJumps is the kernel's NFT_JUMP_STACK_SIZE.
const maxJumps = 16

// stops finds the base chain of a hook that surely drops a flow, or nil.
func (rs *ruleset) stops(hook nftables.ChainHook, f flow) *chain {
	for _, c := range rs.bases {
		if *c.base.Hooknum != hook || c.base.Type != nftables.ChainTypeFilter || !f.in(c.family) {
			continue
		}
		end, perhaps := rs.walk(c, f, 0)
		if end == undecided && c.base.Policy != nil && *c.base.Policy == nftables.ChainPolicyDrop {
			end = dropped
		}
		if end == dropped && !perhaps {
			return c
		}
	}
	return nil
}

func (f flow) in(family nftables.TableFamily) bool {
	return family == nftables.TableFamilyINet || (family == nftables.TableFamilyIPv6) == f.v6
}

// walk follows a flow through a chain and those that it jumps to. A rule of which it
// cannot tell whether it matches decides nothing, but where it accepts, perhaps is true.
func (rs *ruleset) walk(c *chain, f flow, depth int) (end fate, perhaps bool) {
	if depth > maxJumps {
		return undecided, true
	}
	for _, r := range c.rules {
		match, v := rs.eval(c, r, f)
		if match == no || v == nil {
			continue
		}
		var here fate
		switch v.Kind {
		case expr.VerdictAccept:
			here = accepted
		case expr.VerdictDrop:
			here = dropped
		case expr.VerdictReturn:
			if match == yes {
				return undecided, perhaps
			}
		case expr.VerdictJump, expr.VerdictGoto:
			next := rs.chains[chainKey{c.family, c.table, v.Chain}]
			if next == nil {
				return undecided, true // it was deleted while it was read
			}
			var sub bool
			here, sub = rs.walk(next, f, depth+1)
			perhaps = perhaps || sub
			if match == yes && v.Kind == expr.VerdictGoto {
				return here, perhaps
			}
		}
		switch {
		case here == undecided:
		case match == yes:
			return here, perhaps
		case here == accepted:
			perhaps = true
		}
	}
	return undecided, perhaps
}
