package updater

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/config"
	"github.com/nameroute/nameroute/gateway/policy"
	"github.com/nameroute/nameroute/gateway/provider"
)

// Nothing is sent while the route is down, via the WAN least of all.
func TestNothingIsSentWhileTheRouteIsDown(t *testing.T) {
	s := newSite(t)
	b := newBox(t, s.URL)
	s.answer(file(list(3, "example")))
	cfg, err := config.Parse("gateway.yaml", []byte("routes: {vpn: {interface: tun7, on_down: wan}}\nlists: {l: {url: "+s.URL+", via: vpn}}"))
	if err != nil {
		t.Fatal(err)
	}
	b.SetConfig(cfg)
	b.update(Failed, "list l: route vpn is down")
	if n := len(s.requests()); n > 0 {
		t.Errorf("%d requests were sent", n)
	}
	if wait := time.Until(b.meta().Next); wait > 66*time.Second {
		t.Errorf("tried again in %v", wait)
	}
}

// A provider file that turns bad does not take the resolvers away from fetches.
func TestResolversOfTheLastGoodProviderFile(t *testing.T) {
	dir := t.TempDir()
	conf := filepath.Join(dir, "wg0.conf")
	r := gateway.Route{Name: "vpn", Egress: gateway.Egress{Kind: gateway.EgressWireGuard, File: conf}}
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	sidecar, u := provider.NewStore(dir), provider.NewStore(dir)
	resolvers := func() string {
		all, err := routeResolvers(nil, r, u.Load(r), policy.RouteState{})
		return fmt.Sprint(all, err)
	}
	if got := resolvers(); !strings.Contains(got, "not there") {
		t.Errorf("without a file: %s", got)
	}
	const head = "[Interface]\nPrivateKey = yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=\nAddress = 10.2.0.2/32\n"
	const peer = "[Peer]\nPublicKey = xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=\nAllowedIPs = 0.0.0.0/0\n"
	write(head + peer)
	if got := resolvers(); !strings.Contains(got, "route vpn has no resolvers of its own") {
		t.Errorf("a file without DNS: %s", got)
	}
	write(head + "DNS = 10.2.0.1\n" + peer)
	sidecar.Load(r)
	if err := sidecar.Save(r); err != nil {
		t.Fatal(err)
	}
	write("nonsense\n")
	if got := resolvers(); got != "[10.2.0.1:53] <nil>" {
		t.Errorf("after the file turned bad: %s", got)
	}
}

// A family that the route lacks is not tried: the packet would be dropped, or worse.
func TestOnlyFamiliesOfTheRouteAreDialed(t *testing.T) {
	d := dialer{route: "vpn", v4: true}
	if _, err := d.DialContext(t.Context(), "tcp", "[2001:db8::1]:443"); err == nil || err.Error() != "2001:db8::1: route vpn has no IPv6 now" {
		t.Errorf("IPv6: %v", err)
	}
	for a, want := range map[string]bool{"192.0.2.1": true, "2001:db8::1": false, "127.0.0.1": true, "::1": true} {
		if got := d.reaches(netip.MustParseAddr(a)); got != want {
			t.Errorf("%s: %v, want %v", a, got, want)
		}
	}
}
