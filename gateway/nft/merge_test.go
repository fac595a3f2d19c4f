package nft

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/pkg/span"
)

func texts(ranges []span.Range) (out []string) {
	for _, r := range ranges {
		out = append(out, r.String())
	}
	return out
}

// FuzzMerge compares with a naive model: a map of the 256 addresses of a small world
// at the end of the address space, where overflow lives.
func FuzzMerge(f *testing.F) {
	f.Add([]byte{0, 24, 255, 32, 254, 31, 128, 25})
	f.Add([]byte{7, 32, 8, 29, 16, 28})
	f.Fuzz(func(t *testing.T, in []byte) {
		for _, base := range []netip.Addr{addr("255.255.255.0"), addr("10.0.0.0"), addr("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ff00")} {
			family := gateway.FamilyOf(base)
			var ps []netip.Prefix
			var model [256]bool
			for i := 0; i+1 < len(in); i += 2 {
				bits := 24 + int(in[i+1])%9
				p := netip.PrefixFrom(in256(base, in[i]), base.BitLen()-32+bits)
				ps = append(ps, p)
				for n := range 256 {
					model[n] = model[n] || p.Contains(in256(base, byte(n)))
				}
			}
			merged := span.Merge(ps, family)
			for n := range 256 {
				a, hits := in256(base, byte(n)), 0
				for _, r := range merged {
					if r.From.Compare(a) <= 0 && a.Compare(r.To) <= 0 {
						hits++
					}
				}
				if (hits == 1) != model[n] || hits > 1 {
					t.Fatalf("%v: %s is in %d ranges of %v", ps, a, hits, merged)
				}
			}
			for i := 1; i < len(merged); i++ {
				if span.Touches(merged[i-1], merged[i]) {
					t.Fatalf("%v: %v and %v could be one", ps, merged[i-1], merged[i])
				}
			}
			// What the kernel stores must read back as what was sent.
			if diff := cmp.Diff(texts(merged), texts(ranges(rangeElements(merged)))); diff != "" {
				t.Fatal(diff)
			}
		}
	})
}

func in256(base netip.Addr, n byte) netip.Addr {
	b := base.AsSlice()
	b[len(b)-1] = n
	a, _ := netip.AddrFromSlice(b)
	return a
}

// FuzzChunks: parts of a change, applied one after the other to the old ranges, never
// overlap and end at the new ranges.
func FuzzChunks(f *testing.F) {
	f.Add([]byte{0, 24}, []byte{0, 25, 200, 32}, 2)
	f.Add([]byte{1, 32, 3, 32, 5, 32}, []byte{0, 29}, 1)
	f.Fuzz(func(t *testing.T, old, new []byte, limit int) {
		make := func(in []byte) []span.Range {
			var ps []netip.Prefix
			for i := 0; i+1 < len(in); i += 2 {
				ps = append(ps, netip.PrefixFrom(in256(addr("10.0.0.0"), in[i]), 24+int(in[i+1])%9))
			}
			return span.Merge(ps, gateway.V4)
		}
		have, want := make(old), make(new)
		now := map[span.Range]bool{}
		for _, r := range have {
			now[r] = true
		}
		del, add := diffRanges(have, want)
		for _, part := range (rangeChange{del: del, add: add}).chunks(limit) {
			for _, r := range part.del {
				if !now[r] {
					t.Fatalf("%v is deleted and is not there", r)
				}
				delete(now, r)
			}
			for _, r := range part.add {
				for other := range now {
					if r.From.Compare(other.To) <= 0 && other.From.Compare(r.To) <= 0 {
						t.Fatalf("%v is added to %v", r, other)
					}
				}
				now[r] = true
			}
		}
		if len(now) != len(want) {
			t.Fatalf("have %v want %v", now, want)
		}
		for _, r := range want {
			if !now[r] {
				t.Fatalf("%v is missing", r)
			}
		}
	})
}

// FuzzEvent: whatever comes, reading ends and does not panic; what we write is read
// back as it was.
func FuzzEvent(f *testing.F) {
	var b batch
	b.elements(0, SetRef{"inet", "t", "s"}, []element{{key: addr("192.0.2.1"), timeout: 1e9, expires: 1e9}, {key: addr("2001:db8::1"), end: true}})
	for _, typ := range []uint16{0, 6, 9, 12, 14} {
		f.Add(typ, b.buf[16:])
	}
	f.Fuzz(func(t *testing.T, typ uint16, payload []byte) {
		e, ok := parseEvent(typ, payload)
		if ok != (len(payload) >= 4) {
			t.Fatalf("ok is %v of %d bytes", ok, len(payload))
		}
		for _, el := range e.elems {
			if !el.key.IsValid() || el.timeout < 0 || el.expires < 0 {
				t.Fatalf("element %+v", el)
			}
		}
		canonical(payload)
		r := ruleState{chain: "c", exprs: payload, comment: payload}
		r.counters()
		r.commentText()
		extack(append(binary.NativeEndian.AppendUint32(nil, uint32(len(payload))), append([]byte{2, 0, 0, 2}, payload...)...))
	})
}

func TestParseElements(t *testing.T) {
	want := []element{{key: addr("192.0.2.1"), timeout: 5e9, expires: 4e9}, {key: addr("2001:db8::1"), end: true}, {key: addr("10.0.0.0")}}
	var b batch
	b.elements(12, SetRef{"ip6", "table", "set"}, want)
	e, ok := parseEvent(12, b.buf[16:])
	if !ok || e.ref() != (SetRef{"ip6", "table", "set"}) {
		t.Fatalf("read back as %+v", e)
	}
	if diff := cmp.Diff(want, e.elems, cmp.AllowUnexported(element{}), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
}
