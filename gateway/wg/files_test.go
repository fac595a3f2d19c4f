package wg

import (
	"net/netip"
	"testing"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/nameroute/nameroute/gateway/provider"
)

// Keys that were made for these tests.
const (
	keyOwn  = "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk="
	keyPeer = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg="
	keyTwo  = "TrMvSoP4jYQlY6RIzBgbssQqY3vxI2Pi+y71lOWWXX0="
	keyPSK  = "Wg9J3g8Uo4bpIhyDhS9tKUYu8uTz4UAQ3TDhxPoR6N0="
)

const head = "[Interface]\nPrivateKey = " + keyOwn + "\nAddress = 10.2.0.2/32\n"

const peer = "[Peer]\nPublicKey = " + keyPeer + "\nAllowedIPs = 0.0.0.0/0\nEndpoint = 192.0.2.1:51820\n"

func mustKey(t testing.TB, s string) wgtypes.Key {
	t.Helper()
	k, err := wgtypes.ParseKey(s)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func mustParse(t testing.TB, text string) *provider.Conf {
	t.Helper()
	c, err := provider.Parse("wg0.conf", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func pfx(words ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, w := range words {
		out = append(out, netip.MustParsePrefix(w))
	}
	return out
}
