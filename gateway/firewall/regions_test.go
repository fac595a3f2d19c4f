package firewall

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/pkg/span"
)

// FuzzRegions: the parts hold what the whole holds, each at most the limit and nothing
// outside of it, and no two have the same name.
func FuzzRegions(f *testing.F) {
	f.Add([]byte{0, 24, 255, 32, 254, 31, 128, 25}, 1)
	f.Add([]byte{0, 31, 4, 31, 8, 31, 12, 31, 128, 32, 0, 24}, 2)
	f.Fuzz(func(t *testing.T, in []byte, limit int) {
		limit = max(1, limit)
		for _, base := range []netip.Addr{addr("255.255.255.0"), addr("0.0.0.0"), addr("2001:db8::")} {
			family := gateway.FamilyOf(base)
			all := netip.PrefixFrom(base, base.BitLen()-8)
			var ps []netip.Prefix
			for i := 0; i+1 < len(in); i += 2 {
				ps = append(ps, netip.PrefixFrom(in256(base, in[i]), base.BitLen()-8+int(in[i+1])%9))
			}
			full := span.Merge(ps, family)
			before := texts(full)
			var together []span.Range
			names := map[string]bool{}
			for _, r := range regions(all, full, limit) {
				if len(r.ranges) == 0 || len(r.ranges) > limit || names[regionSet("vpn4p", r.prefix)] {
					t.Fatalf("%v has %d ranges of %d", r.prefix, len(r.ranges), limit)
				}
				names[regionSet("vpn4p", r.prefix)] = true
				for _, x := range r.ranges {
					if !r.prefix.Contains(x.From) || !r.prefix.Contains(x.To) {
						t.Fatalf("%v is in %v", x, r.prefix)
					}
				}
				together = append(together, r.ranges...)
			}
			if got := texts(joined(together)); !slices.Equal(got, before) || !slices.Equal(texts(full), before) {
				t.Fatalf("%v came out as %v", before, got)
			}
		}
	})
}

// A list that loses ten prefixes loses ten in its parts.
func TestRegionsMoveLittle(t *testing.T) {
	all := many(40_000)
	for _, gone := range []int{1, 10} {
		have, want := map[string][]span.Range{}, map[string][]span.Range{}
		for _, s := range prefixSets("vpn4p", gateway.V4, all, 1000) {
			have[s.Name] = s.Ranges
		}
		for _, s := range prefixSets("vpn4p", gateway.V4, all[2*gone:], 1000) {
			want[s.Name] = s.Ranges
		}
		moved := 0
		for name := range have {
			moved += differ(have[name], want[name]) + differ(want[name], have[name])
		}
		if moved != gone || len(have) != len(want) {
			t.Errorf("%d are gone: %d ranges move, %d sets become %d", gone, moved, len(have), len(want))
		}
	}
}

// differ counts the ranges of one list that the other lacks.
func differ(some, others []span.Range) (n int) {
	for _, r := range some {
		if !slices.Contains(others, r) {
			n++
		}
	}
	return n
}

// joined joins ranges that were cut at the ends of regions.
func joined(ranges []span.Range) (out []span.Range) {
	for _, r := range ranges {
		if n := len(out); n > 0 && out[n-1].To.Next() == r.From {
			out[n-1].To = r.To
			continue
		}
		out = append(out, r)
	}
	return out
}

func texts(ranges []span.Range) (out []string) {
	for _, r := range ranges {
		out = append(out, r.String())
	}
	return out
}

func in256(base netip.Addr, n byte) netip.Addr {
	b := base.AsSlice()
	b[len(b)-1] = n
	a, _ := netip.AddrFromSlice(b)
	return a
}

func TestIsSpecial(t *testing.T) {
	for a, want := range map[string]bool{
		"10.1.2.3": true, "100.64.0.1": true, "192.0.2.1": true, "224.0.0.251": true, "255.255.255.255": true, "169.254.1.1": true,
		"::1": true, "::": true, "fe80::1": true, "fe80::1%eth0": true, "fd00::1": true, "ff02::1": true, "2001:db8::1": true, "::ffff:10.0.0.1": true,
		"8.8.8.8": false, "100.128.0.1": false, "192.88.99.1": false, "2606:4700::1": false, "::ffff:8.8.8.8": false,
		"64:ff9b::808:808": false, "2002:808:808::1": false, "2001:0:5ef5:79fd::1": false, "2001:4860:4860::8888": false,
	} {
		if got := gateway.IsSpecial(addr(a)); got != want {
			t.Errorf("IsSpecial(%s) = %v", a, got)
		}
	}
}
