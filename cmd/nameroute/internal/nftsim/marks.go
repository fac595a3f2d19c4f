package nftsim

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/xt"

	"github.com/nameroute/nameroute/gateway"
)

// MarkWriter is a rule that writes bits of the mark, or of the ct mark, that are not its
// program's.
type MarkWriter struct {
	Chain  *Chain
	Handle uint64
	Does   string // as nft(8) or iptables(8) write it
	Remedy string
}

// String names the rule and what it does.
func (w MarkWriter) String() string {
	return fmt.Sprintf("chain %s, rule handle %d: %s", w.Chain, w.Handle, w.Does)
}

// MarkWriters returns the rules that write any of the mask's bits in place of what the
// packet or its flow had there.
func (rs *Ruleset) MarkWriters(mask uint32) []MarkWriter {
	var all []MarkWriter
	for _, c := range rs.chains {
		for _, r := range c.rules {
			for _, does := range writesMarks(r, mask) {
				all = append(all, MarkWriter{c, r.Handle, does, markRemedy(does, mask)})
			}
		}
	}
	slices.SortFunc(all, func(a, b MarkWriter) int { return strings.Compare(a.String(), b.String()) })
	return all
}

// NameMarkWriters reads the rules of other programs and names those that MarkWriters finds.
func NameMarkWriters(mask gateway.Mask) ([]string, error) {
	rs, err := Read()
	if err != nil {
		return nil, err
	}
	var all []string
	for _, w := range rs.MarkWriters(uint32(mask)) {
		all = append(all, w.String())
	}
	return all, nil
}

func markRemedy(does string, mask uint32) string {
	switch {
	case strings.HasPrefix(does, "-j MARK"), strings.HasPrefix(does, "-j CONNMARK --set"):
		return fmt.Sprintf("give the mark a mask without these bits: --set-xmark VALUE/%#x", ^mask)
	case strings.HasPrefix(does, "-j CONNMARK"):
		return fmt.Sprintf("add --nfmask %#[1]x --ctmask %#[1]x", ^mask)
	case strings.HasPrefix(does, "ct mark"):
		return fmt.Sprintf("keep these bits: ct mark set ct mark & %#x | VALUE", mask)
	}
	return fmt.Sprintf("keep these bits: meta mark set meta mark & %#x | VALUE", mask)
}

// loaded is what is known of a value in a register: the bits that are still those of the
// mark that it was loaded from, and all of it where it is a constant.
type loaded struct {
	from     string // meta mark, ct mark; "" is anything else
	kept     uint32
	constant bool
	value    uint32
	unknown  bool
}

// writesMarks returns what of the rule writes the mask's bits.
func writesMarks(r *nftables.Rule, mask uint32) []string {
	regs := map[uint32]loaded{}
	var all []string
	set := func(what string, v loaded) {
		switch {
		case v.unknown || v.from == what && v.kept&mask == mask:
		case v.constant:
			all = append(all, fmt.Sprintf("%s set %#x", what, v.value))
		case v.from == what:
			all = append(all, fmt.Sprintf("%s set %s & %#x ...", what, what, v.kept))
		case v.from != "":
			all = append(all, fmt.Sprintf("%s set %s", what, v.from))
		default:
			all = append(all, what+" set ...")
		}
	}
	load := func(isSet bool, reg uint32, what string) {
		if isSet {
			set(what, regs[reg])
		} else {
			regs[reg] = loaded{from: what, kept: ^uint32(0)}
		}
	}
	for _, e := range r.Exprs {
		switch e := e.(type) {
		case *expr.Meta:
			if e.Key == expr.MetaKeyMARK {
				load(e.SourceRegister, e.Register, "meta mark")
			} else if !e.SourceRegister {
				delete(regs, e.Register)
			}
		case *expr.Ct:
			if e.Key == expr.CtKeyMARK {
				load(e.SourceRegister, e.Register, "ct mark")
			} else if !e.SourceRegister {
				delete(regs, e.Register)
			}
		case *expr.Immediate:
			if len(e.Data) == 4 {
				regs[e.Register] = loaded{constant: true, value: binary.NativeEndian.Uint32(e.Data)}
			}
		case *expr.Bitwise:
			v := regs[e.SourceRegister]
			if len(e.Mask) != 4 || len(e.Xor) != 4 { // of two registers
				v.unknown = true
			} else {
				v.kept &= binary.NativeEndian.Uint32(e.Mask) &^ binary.NativeEndian.Uint32(e.Xor)
				v.constant = false
			}
			regs[e.DestRegister] = v
		case *expr.Target:
			if does := xtWrites(e, mask); does != "" {
				all = append(all, does)
			}
		}
	}
	return all
}

// The modes of xt_CONNMARK.
const (
	xtSetMark = iota
	xtSaveMark
	xtRestoreMark
)

// xtWrites tells what iptables' MARK (xt_mark_tginfo2: mark, mask) and CONNMARK
// (xt_connmark_tginfo1: ctmark, ctmask, nfmask, mode; _tginfo2 has a shift before the mode)
// write of the mask's bits.
func xtWrites(e *expr.Target, mask uint32) string {
	info, ok := e.Info.(*xt.Unknown)
	if !ok {
		return ""
	}
	word := func(i int) uint32 { return binary.NativeEndian.Uint32((*info)[4*i:]) }
	switch {
	case e.Name == "MARK" && len(*info) >= 8:
		if value, of := word(0), word(1); (of|value)&mask != 0 {
			return fmt.Sprintf("-j MARK --set-xmark %#x/%#x", value, of)
		}
	case e.Name == "CONNMARK" && len(*info) >= 16:
		ctMark, ctMask, nfMask, modeAt := word(0), word(1), word(2), 12
		if e.Rev >= 2 {
			modeAt = 14
		}
		switch mode := (*info)[modeAt]; {
		case mode == xtSetMark && (ctMask|ctMark)&mask != 0:
			return fmt.Sprintf("-j CONNMARK --set-xmark %#x/%#x", ctMark, ctMask)
		case mode == xtSaveMark && (ctMask|nfMask)&mask != 0:
			return fmt.Sprintf("-j CONNMARK --save-mark --nfmask %#x --ctmask %#x", nfMask, ctMask)
		case mode == xtRestoreMark && (ctMask|nfMask)&mask != 0:
			return fmt.Sprintf("-j CONNMARK --restore-mark --nfmask %#x --ctmask %#x", nfMask, ctMask)
		}
	}
	return ""
}
