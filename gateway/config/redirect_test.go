package config

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nameroute/nameroute/gateway"
)

func TestRedirect(t *testing.T) {
	for text, want := range map[string]gateway.Redirect{
		"":                                     {},
		"redirect_dns: off":                    {},
		"redirect_dns: on":                     {On: true},
		"redirect_dns: {}":                     {On: true},
		"redirect_dns: {dot: allow, except: }": {On: true},
		"redirect_dns: {dot: reject}":          {On: true, RejectDoT: true},
		"redirect_dns: {except: 192.168.1.5}":  {On: true, Except: []netip.Prefix{netip.MustParsePrefix("192.168.1.5/32")}},
	} {
		c, err := Parse("gateway.yaml", []byte("lan: br-lan\n"+text))
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if diff := cmp.Diff(want, c.Redirect, equal); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", text, diff)
		}
		if len(c.Notes) > 0 {
			t.Errorf("%s: notes %v", text, c.Notes)
		}
	}
	c, err := Parse("gateway.yaml", []byte("wan: auto\nredirect_dns: on\n"))
	if err != nil {
		t.Fatal(err)
	}
	const want = "gateway.yaml:2:15: redirect_dns: has no effect while lan is empty: want lan: [INTERFACE...]"
	if got := c.Notes.Error(); got != want {
		t.Errorf("notes: %s, want %s", got, want)
	}
}
