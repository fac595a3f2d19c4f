package policy

import (
	"slices"
	"testing"
)

func TestWANDefaults(t *testing.T) {
	lab(t)
	defaults, err := WANDefaults(config(wireguard("vpn", "wg0")))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range defaults {
		got = append(got, d.String())
	}
	want := []string{
		"IPv4 default via 192.0.2.1 dev wan0",
		"IPv6 default via 2001:db8:1::1 dev wan0 metric 1024 pref medium",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if links := LinksOf(defaults); !slices.Equal(links, []string{"wan0"}) {
		t.Errorf("interfaces %v, want wan0", links)
	}
}
