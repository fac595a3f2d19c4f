package nft

import (
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// The messages that make and unmake the parts of an nft table of family inet.

func (b *batch) newTable(name string, flags uint32) {
	b.message(unix.NFT_MSG_NEWTABLE, unix.NLM_F_CREATE, unix.NFPROTO_INET, op{verb: "add table", name: name}, func(b *batch) {
		b.text(unix.NFTA_TABLE_NAME, name)
		b.be32(unix.NFTA_TABLE_FLAGS, flags)
	})
}

func (b *batch) delTable(name string) {
	b.message(unix.NFT_MSG_DELTABLE, 0, unix.NFPROTO_INET, op{verb: "delete table", name: name}, func(b *batch) {
		b.text(unix.NFTA_TABLE_NAME, name)
	})
}

func (b *batch) newSet(table string, s Set) {
	b.message(unix.NFT_MSG_NEWSET, unix.NLM_F_CREATE, unix.NFPROTO_INET, op{verb: "add set", name: s.Name}, func(b *batch) {
		typ, length := keyType(s.Family)
		b.text(unix.NFTA_SET_TABLE, table)
		b.text(unix.NFTA_SET_NAME, s.Name)
		b.be32(unix.NFTA_SET_FLAGS, s.flags())
		b.be32(unix.NFTA_SET_KEY_TYPE, typ)
		b.be32(unix.NFTA_SET_KEY_LEN, length)
		b.be32(unix.NFTA_SET_ID, uint32(len(b.ops))+1) // unique in the transaction
		if s.Size > 0 {
			at := b.open(unix.NFTA_SET_DESC)
			b.be32(unix.NFTA_SET_DESC_SIZE, uint32(s.Size))
			b.shut(at)
		}
	})
}

func (b *batch) delSet(table, name string) {
	b.message(unix.NFT_MSG_DELSET, 0, unix.NFPROTO_INET, op{verb: "delete set", name: name}, func(b *batch) {
		b.text(unix.NFTA_SET_TABLE, table)
		b.text(unix.NFTA_SET_NAME, name)
	})
}

// newChain adds a chain, or sets the policy of one that is there.
func (b *batch) newChain(table string, c Chain) {
	b.message(unix.NFT_MSG_NEWCHAIN, unix.NLM_F_CREATE, unix.NFPROTO_INET, op{verb: "add chain", name: c.Name}, func(b *batch) {
		b.text(unix.NFTA_CHAIN_TABLE, table)
		b.text(unix.NFTA_CHAIN_NAME, c.Name)
		if c.Type == "" {
			return
		}
		at := b.open(unix.NFTA_CHAIN_HOOK)
		b.be32(unix.NFTA_HOOK_HOOKNUM, hookNumbers[c.Hook])
		b.be32(unix.NFTA_HOOK_PRIORITY, uint32(c.Priority))
		b.shut(at)
		b.be32(unix.NFTA_CHAIN_POLICY, policyAccept)
		b.text(unix.NFTA_CHAIN_TYPE, c.Type)
	})
}

func (b *batch) delChain(table, name string) {
	b.message(unix.NFT_MSG_DELCHAIN, 0, unix.NFPROTO_INET, op{verb: "delete chain", name: name}, func(b *batch) {
		b.text(unix.NFTA_CHAIN_TABLE, table)
		b.text(unix.NFTA_CHAIN_NAME, name)
	})
}

func (b *batch) newRule(table string, p placedRule) error {
	exprs, err := encodeRule(p.rule, p.packets, p.bytes)
	if err != nil {
		return err
	}
	flags := uint16(unix.NLM_F_CREATE)
	if p.before == 0 {
		flags |= unix.NLM_F_APPEND
	}
	o := op{verb: "add rule to chain " + p.chain + ":", name: p.rule.String()}
	b.message(unix.NFT_MSG_NEWRULE, flags, unix.NFPROTO_INET, o, func(b *batch) {
		b.text(unix.NFTA_RULE_TABLE, table)
		b.text(unix.NFTA_RULE_CHAIN, p.chain)
		if p.before != 0 {
			b.be64(unix.NFTA_RULE_POSITION, p.before)
		}
		at := b.open(unix.NFTA_RULE_EXPRESSIONS)
		b.buf = append(b.buf, exprs...)
		b.shut(at)
		b.attr(unix.NFTA_RULE_USERDATA, userData(p.rule))
	})
	return nil
}

func (b *batch) delRule(table string, r ruleState) {
	o := op{verb: "delete rule from chain", name: fmt.Sprintf("%s (handle %d)", r.chain, r.handle)}
	b.message(unix.NFT_MSG_DELRULE, 0, unix.NFPROTO_INET, o, func(b *batch) {
		b.text(unix.NFTA_RULE_TABLE, table)
		b.text(unix.NFTA_RULE_CHAIN, r.chain)
		b.be64(unix.NFTA_RULE_HANDLE, r.handle)
	})
}

// changeRanges deletes and adds elements of a static set, deletions first.
func (b *batch) changeRanges(table string, c rangeChange) {
	ref := SetRef{Family: "inet", Table: table, Name: c.set.Name}
	for elems := range slices.Chunk(rangeElements(c.del), maxPerMessage) {
		b.elements(unix.NFT_MSG_DELSETELEM, ref, elems)
	}
	for elems := range slices.Chunk(rangeElements(c.add), maxPerMessage) {
		b.elements(unix.NFT_MSG_NEWSETELEM, ref, elems)
	}
}

// addElements adds elements with timeouts to a set that was just made.
func (b *batch) addElements(ref SetRef, elems []Element) {
	for part := range slices.Chunk(elems, maxPerMessage) {
		out := make([]element, len(part))
		for i, e := range part {
			out[i] = element{key: e.Addr, timeout: max(e.Left, time.Millisecond)}
		}
		b.elements(unix.NFT_MSG_NEWSETELEM, ref, out)
	}
}
