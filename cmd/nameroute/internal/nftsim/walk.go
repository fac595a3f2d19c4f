package nftsim

import (
	"github.com/google/nftables"
	"github.com/google/nftables/expr"
)

// Flow is the first packet of a connection. Fields that are not set match anything.
type Flow struct {
	In, Out string // interfaces
	IPv6    bool
	Proto   byte   // 0: any
	Port    uint16 // of the destination; 0: any
}

// verdict is what a chain does to a packet.
type verdict int

const (
	undecided verdict = iota
	accepted
	dropped
)

// maxJumps is the kernel's NFT_JUMP_STACK_SIZE.
const maxJumps = 16

// Drops returns the base chain of a hook that certainly drops a flow, or nil.
func (rs *Ruleset) Drops(hook nftables.ChainHook, f Flow) *Chain {
	for _, c := range rs.bases {
		if *c.base.Hooknum != hook || c.base.Type != nftables.ChainTypeFilter || !f.isOf(c.family) {
			continue
		}
		end, mayAccept := rs.walk(c, f, 0)
		if end == undecided && c.base.Policy != nil && *c.base.Policy == nftables.ChainPolicyDrop {
			end = dropped
		}
		if end == dropped && !mayAccept {
			return c
		}
	}
	return nil
}

// isOf reports whether chains of a table family see the flow.
func (f Flow) isOf(family nftables.TableFamily) bool {
	return family == nftables.TableFamilyINet || (family == nftables.TableFamilyIPv6) == f.IPv6
}

// walk follows a flow through a chain and the chains that it jumps to. A rule that may
// or may not match decides nothing; where such a rule accepts, mayAccept is true.
func (rs *Ruleset) walk(c *Chain, f Flow, depth int) (end verdict, mayAccept bool) {
	if depth > maxJumps {
		return undecided, true
	}
	for _, r := range c.rules {
		match, v := rs.eval(c, r, f)
		if match == no || v == nil {
			continue
		}
		var here verdict
		switch v.Kind {
		case expr.VerdictAccept:
			here = accepted
		case expr.VerdictDrop:
			here = dropped
		case expr.VerdictReturn:
			if match == yes {
				return undecided, mayAccept
			}
		case expr.VerdictJump, expr.VerdictGoto:
			next := rs.chains[Key{c.family, c.table, v.Chain}]
			if next == nil {
				return undecided, true // deleted while the rules were read
			}
			var sub bool
			here, sub = rs.walk(next, f, depth+1)
			mayAccept = mayAccept || sub
			if match == yes && v.Kind == expr.VerdictGoto {
				return here, mayAccept
			}
		}
		switch {
		case here == undecided:
		case match == yes:
			return here, mayAccept
		case here == accepted:
			mayAccept = true
		}
	}
	return undecided, mayAccept
}
