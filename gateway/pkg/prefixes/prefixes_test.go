package prefixes

import (
	"net/netip"
	"slices"
	"testing"
)

func parse(texts ...string) (all []netip.Prefix) {
	for _, s := range texts {
		all = append(all, netip.MustParsePrefix(s))
	}
	return all
}

func TestWithout(t *testing.T) {
	got := Without(parse("10.0.0.0/8", "10.1.0.0/16", "192.0.2.0/24", "2001:db8::/32"), parse("10.1.0.0/16", "192.0.0.0/8", "2001:db8:8000::/33"))
	want := parse("10.0.0.0/16", "10.2.0.0/15", "10.4.0.0/14", "10.8.0.0/13", "10.16.0.0/12", "10.32.0.0/11", "10.64.0.0/10", "10.128.0.0/9", "2001:db8::/33")
	if !slices.Equal(got, want) {
		t.Errorf("without: %v, want %v", got, want)
	}
}
