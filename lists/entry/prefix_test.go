package entry

import (
	"net/netip"
	"strings"
	"testing"
)

func TestEachPrefix(t *testing.T) {
	for _, tt := range []struct{ from, to, want string }{
		{"192.0.2.0", "192.0.2.255", "192.0.2.0/24"},
		{"192.0.2.1", "192.0.2.6", "192.0.2.1/32 192.0.2.2/31 192.0.2.4/31 192.0.2.6/32"},
		{"0.0.0.0", "255.255.255.255", "0.0.0.0/0"},
		{"::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "::/0"},
		{"255.255.255.255", "255.255.255.255", "255.255.255.255/32"},
		{"2001:db8::1", "2001:db8::2", "2001:db8::1/128 2001:db8::2/128"},
		{"::ffff:192.0.2.0", "::ffff:192.0.2.1", "192.0.2.0/31"},
	} {
		var got []string
		ok := EachPrefix(netip.MustParseAddr(tt.from), netip.MustParseAddr(tt.to), func(p netip.Prefix) { got = append(got, p.String()) })
		if s := strings.Join(got, " "); !ok || s != tt.want {
			t.Errorf("%s-%s: %s, want %s", tt.from, tt.to, s, tt.want)
		}
	}
	if EachPrefix(netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("192.0.2.1"), nil) ||
		EachPrefix(netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("::1"), nil) {
		t.Error("no range is one")
	}
}
