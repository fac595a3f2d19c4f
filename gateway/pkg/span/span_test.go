package span

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nameroute/nameroute/gateway"
)

func TestMerge(t *testing.T) {
	for _, c := range []struct {
		name   string
		in     []string
		v4, v6 []string
	}{
		{"nothing", nil, nil, nil},
		{"one inside another", []string{"10.0.0.0/8", "10.1.0.0/16", "10.255.255.255/32"}, []string{"10.0.0.0/8"}, nil},
		{"adjacent", []string{"10.0.1.0/24", "10.0.0.0/24", "10.0.2.0/24"}, []string{"10.0.0.0-10.0.2.255"}, nil},
		{"adjacent to a prefix", []string{"10.0.1.0/24", "10.0.0.0/24"}, []string{"10.0.0.0/23"}, nil},
		{"host bits", []string{"10.1.2.3/8"}, []string{"10.0.0.0/8"}, nil},
		{"everything", []string{"0.0.0.0/0", "255.255.255.255/32", "::/0", "ffff::/16"}, []string{"0.0.0.0/0"}, []string{"::/0"}},
		{"the last address", []string{"255.255.255.255/32", "255.255.255.254/32"}, []string{"255.255.255.254/31"}, nil},
		{"both families", []string{"2001:db8::/32", "10.0.0.1/32", "2001:db9::/32"}, []string{"10.0.0.1"}, []string{"2001:db8::/31"}},
		{"IPv4-mapped is no IPv4 default", []string{"::ffff:0:0/96"}, nil, []string{"::ffff:0.0.0.0/96"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := []netip.Prefix{{}}
			for _, text := range c.in {
				in = append(in, netip.MustParsePrefix(text))
			}
			if diff := cmp.Diff(c.v4, texts(Merge(in, gateway.V4))); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(c.v6, texts(Merge(in, gateway.V6))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func texts(ranges []Range) (out []string) {
	for _, r := range ranges {
		out = append(out, r.String())
	}
	return out
}
