package nftsim

import (
	"bytes"
	"encoding/binary"
	"net"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/xt"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// match tells whether a rule matches a flow.
type match int

const (
	yes match = iota
	maybe
	no
)

// eval runs a rule's expressions for a flow and returns the rule's verdict, nil without
// one. Registers hold data as the kernel's do; nil is a value that is not known.
func (rs *Ruleset) eval(c *Chain, r *nftables.Rule, f Flow) (match, *expr.Verdict) {
	regs := map[uint32][]byte{}
	var verdict *expr.Verdict
	all := yes
	for _, e := range r.Exprs {
		a := yes
		switch e := e.(type) {
		case *expr.Meta:
			if !e.SourceRegister {
				regs[e.Register] = f.meta(e.Key)
			}
		case *expr.Payload:
			if e.OperationType != expr.PayloadWrite {
				regs[e.DestRegister] = f.payload(e)
			}
		case *expr.Ct:
			if !e.SourceRegister {
				regs[e.Register] = ctValue(e.Key)
			}
		case *expr.Bitwise:
			regs[e.DestRegister] = bitwise(regs[e.SourceRegister], e)
		case *expr.Cmp:
			a = compare(regs[e.Register], e)
		case *expr.Lookup:
			a, verdict = rs.lookup(c, regs[e.SourceRegister], e, verdict)
		case *expr.Match:
			a = xtMatch(e)
		case *expr.Verdict:
			verdict = e
		case *expr.Reject:
			verdict = &expr.Verdict{Kind: expr.VerdictDrop}
		case *expr.Target:
			if e.Name == "REJECT" {
				verdict = &expr.Verdict{Kind: expr.VerdictDrop}
			}
		case *expr.Counter, *expr.Log, *expr.Immediate, *expr.Masq, *expr.NAT, *expr.Redir:
		default:
			a = maybe
		}
		if a == no {
			return no, nil
		}
		all = max(all, a)
	}
	return all, verdict
}

// xtConntrackState is XT_CONNTRACK_STATE, which says that the rule matches the state, and
// xtStateNew the bit of a new connection (XT_CONNTRACK_STATE_BIT of IP_CT_NEW).
const (
	xtConntrackState = 1
	xtStateNew       = 8
)

// xtMatch evaluates a match of iptables.
func xtMatch(e *expr.Match) match {
	if e.Name == "comment" {
		return yes
	}
	info, ok := e.Info.(*xt.ConntrackMtinfo3)
	if !ok || info.MatchFlags&xtConntrackState == 0 {
		return maybe
	}
	if (info.StateMask&xtStateNew != 0) == (info.InvertFlags&xtConntrackState != 0) {
		return no
	}
	if info.MatchFlags != xtConntrackState {
		return maybe
	}
	return yes
}

// meta returns the value of a meta key, nil where it is not known.
func (f Flow) meta(key expr.MetaKey) []byte {
	name := func(s string) []byte {
		if s == "" {
			return nil
		}
		return append([]byte(s), make([]byte, unix.IFNAMSIZ-len(s))...)
	}
	switch key {
	case expr.MetaKeyIIFNAME:
		return name(f.In)
	case expr.MetaKeyOIFNAME:
		return name(f.Out)
	case expr.MetaKeyIIF:
		return linkIndex(f.In)
	case expr.MetaKeyOIF:
		return linkIndex(f.Out)
	case expr.MetaKeyNFPROTO:
		if f.IPv6 {
			return []byte{unix.NFPROTO_IPV6}
		}
		return []byte{unix.NFPROTO_IPV4}
	case expr.MetaKeyL4PROTO:
		if f.Proto != 0 {
			return []byte{f.Proto}
		}
	}
	return nil
}

// linkIndex returns an interface's index as a register holds it.
func linkIndex(link string) []byte {
	i, err := net.InterfaceByName(link)
	if err != nil {
		return nil
	}
	return binary.NativeEndian.AppendUint32(nil, uint32(i.Index))
}

// payload returns what is known of a packet: the protocol in its IP header and its
// destination port.
func (f Flow) payload(e *expr.Payload) []byte {
	switch {
	case e.Base == expr.PayloadBaseTransportHeader && e.Offset == 2 && e.Len == 2 && f.Port != 0:
		return binary.BigEndian.AppendUint16(nil, f.Port)
	case e.Base == expr.PayloadBaseNetworkHeader && e.Len == 1 && f.Proto != 0 && (!f.IPv6 && e.Offset == 9 || f.IPv6 && e.Offset == 6):
		return []byte{f.Proto}
	}
	return nil
}

// ctValue returns the value of a conntrack key: the connection is new.
func ctValue(key expr.CtKey) []byte {
	if key == expr.CtKeySTATE {
		return binary.NativeEndian.AppendUint32(nil, expr.CtStateBitNEW)
	}
	return nil
}

func bitwise(v []byte, e *expr.Bitwise) []byte {
	if v == nil || len(e.Mask) < len(v) || len(e.Xor) < len(v) {
		return nil
	}
	out := make([]byte, len(v))
	for i := range v {
		out[i] = v[i]&e.Mask[i] ^ e.Xor[i]
	}
	return out
}

// compare evaluates a comparison. The data of a name with a wildcard is shorter than
// the register.
func compare(v []byte, e *expr.Cmp) match {
	if v == nil || len(e.Data) > len(v) {
		return maybe
	}
	order := bytes.Compare(v[:len(e.Data)], e.Data)
	holds := map[expr.CmpOp]bool{
		expr.CmpOpEq: order == 0, expr.CmpOpNeq: order != 0, expr.CmpOpLt: order < 0,
		expr.CmpOpLte: order <= 0, expr.CmpOpGt: order > 0, expr.CmpOpGte: order >= 0,
	}[e.Op]
	if holds {
		return yes
	}
	return no
}

// lookup looks a value up in a set or a verdict map, and returns the map's verdict for it.
func (rs *Ruleset) lookup(c *Chain, v []byte, e *expr.Lookup, old *expr.Verdict) (match, *expr.Verdict) {
	elems, known := rs.sets[Key{c.family, c.table, e.SetName}]
	if v == nil || !known {
		if e.IsDestRegSet && e.DestRegister == unix.NFT_REG_VERDICT {
			return maybe, &expr.Verdict{Kind: expr.VerdictAccept} // one of its verdicts may be
		}
		return maybe, old
	}
	for _, el := range elems {
		if len(el.Key) < len(v) || !bytes.Equal(el.Key[:len(v)], v) {
			continue
		}
		switch {
		case e.Invert:
			return no, nil
		case e.IsDestRegSet && e.DestRegister != unix.NFT_REG_VERDICT:
			return maybe, nil // it fills a register with data that is not known
		case e.IsDestRegSet:
			return yes, parseVerdict(el.Val)
		}
		return yes, old
	}
	if e.Invert {
		return yes, old
	}
	return no, nil
}

// parseVerdict parses a verdict in a map (NFTA_VERDICT_CODE and NFTA_VERDICT_CHAIN), which
// the library leaves as bytes; nil for what is none.
func parseVerdict(data []byte) *expr.Verdict {
	d, err := netlink.NewAttributeDecoder(data)
	if err != nil {
		return nil
	}
	d.ByteOrder = binary.BigEndian
	var v expr.Verdict
	coded := false
	for d.Next() {
		switch d.Type() {
		case unix.NFTA_VERDICT_CODE:
			v.Kind, coded = expr.VerdictKind(int32(d.Uint32())), true
		case unix.NFTA_VERDICT_CHAIN:
			v.Chain = d.String()
		}
	}
	if d.Err() != nil || !coded {
		return nil
	}
	return &v
}
