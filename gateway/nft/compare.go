package nft

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"github.com/nameroute/nameroute/gateway/nft/rule"
	"golang.org/x/sys/unix"
)

// encodeRule turns a rule into what the kernel takes: its list of expressions.
// packets and bytes are what its counter begins with.
func encodeRule(r rule.Rule, packets, bytes uint64) ([]byte, error) {
	var b batch
	for _, p := range r.Parts {
		for _, e := range p.Exprs {
			if _, ok := e.(*expr.Counter); ok {
				e = &expr.Counter{Packets: packets, Bytes: bytes}
			}
			data, err := expr.Marshal(unix.NFPROTO_INET, e)
			if err != nil {
				return nil, fmt.Errorf("encode rule %q: %w", r, err)
			}
			b.attr(unix.NFTA_LIST_ELEM|unix.NLA_F_NESTED, data)
		}
	}
	return b.buf, nil
}

// userData is a rule's comment as nft(8) keeps it.
func userData(r rule.Rule) []byte { return userdata.AppendString(nil, userdata.TypeComment, r.Comment) }

// sameRule reports whether a rule of the kernel's is the wanted one.
func sameRule(r rule.Rule, have ruleState) (bool, error) {
	want, err := encodeRule(r, 0, 0)
	if err != nil {
		return false, err
	}
	return bytes.Equal(have.comment, userData(r)) && slices.Equal(canonical(want), canonical(have.exprs)), nil
}

// nested names the attributes of expressions that hold data or a verdict.
var nested = map[string][]uint16{
	"cmp":       {unix.NFTA_CMP_DATA},
	"bitwise":   {unix.NFTA_BITWISE_MASK, unix.NFTA_BITWISE_XOR},
	"immediate": {unix.NFTA_IMMEDIATE_DATA},
}

// natFlags names the flags of what translates.
var natFlags = map[string]uint16{"nat": unix.NFTA_NAT_FLAGS, "redir": unix.NFTA_REDIR_FLAGS}

// canonical lists a rule's expressions in one form, whichever program wrote them: attributes
// sorted, flags of their types gone, those that are zero left out (the kernel
// reports defaults that were not sent), counters without their values.
func canonical(exprs []byte) []string {
	var out []string
	for _, e := range attrs(exprs) {
		var name string
		var fields []string
		for _, a := range attrs(e.data) {
			switch a.typ {
			case unix.NFTA_EXPR_NAME:
				name = cString(a.data)
			case unix.NFTA_EXPR_DATA:
				if name != "counter" {
					fields = canonicalFields(name, a.data)
				}
			}
		}
		slices.Sort(fields)
		out = append(out, fmt.Sprint(name, fields))
	}
	return out
}

func canonicalFields(name string, data []byte) []string {
	var fields []string
	for _, a := range attrs(data) {
		if slices.Contains(nested[name], a.typ) {
			for _, v := range attrs(a.data) {
				if v.typ == unix.NFTA_DATA_VERDICT {
					for _, w := range attrs(v.data) {
						fields = appendField(fields, w.data, a.typ, v.typ, w.typ)
					}
					continue
				}
				fields = appendField(fields, v.data, a.typ, v.typ)
			}
			continue
		}
		if f := natFlags[name]; f != 0 && a.typ == f {
			// The kernel itself sets NF_NAT_RANGE_MAP_IPS and _PROTO_SPECIFIED.
			fields = appendField(fields, binary.NativeEndian.AppendUint32(nil, be32(a.data)&^3), a.typ)
			continue
		}
		fields = appendField(fields, a.data, a.typ)
	}
	return fields
}

func appendField(fields []string, data []byte, path ...uint16) []string {
	if len(bytes.Trim(data, "\x00")) == 0 {
		return fields
	}
	return append(fields, fmt.Sprintf("%d=%x", path, data))
}

// counters reads the values of a rule's counter.
func (s ruleState) counters() (packets, bytes uint64) {
	for _, e := range attrs(s.exprs) {
		var name string
		for _, a := range attrs(e.data) {
			switch {
			case a.typ == unix.NFTA_EXPR_NAME:
				name = cString(a.data)
			case a.typ == unix.NFTA_EXPR_DATA && name == "counter":
				for _, v := range attrs(a.data) {
					switch v.typ {
					case unix.NFTA_COUNTER_BYTES:
						bytes = be64(v.data)
					case unix.NFTA_COUNTER_PACKETS:
						packets = be64(v.data)
					}
				}
			}
		}
	}
	return packets, bytes
}
