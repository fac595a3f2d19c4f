package dataplane

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nameroute/nameroute/gateway/config"
	"github.com/nameroute/nameroute/gateway/firewall"
	"github.com/nameroute/nameroute/gateway/nft"
)

// use makes gateway.yaml the one in force, and the blocks those that are given: route, list,
// route, list.
func (b *lab) use(yaml string, blocks ...string) {
	b.t.Helper()
	b.write("gateway.yaml", strings.ReplaceAll(yaml, "file: ", "file: "+b.dir+"/"))
	cfg, err := config.Load(filepath.Join(b.dir, "gateway.yaml"))
	if err != nil {
		b.t.Fatal(err)
	}
	b.c.SetConfig(cfg)
	req := Requirements{Lists: []string{"mine", "work"}}
	for i := 0; i < len(blocks); i += 2 {
		req.Uses = append(req.Uses, Use{Route: blocks[i], Learns: true, Lists: []string{blocks[i+1]}})
	}
	if err := b.c.Require(b.t.Context(), req); err != nil {
		b.t.Fatal(err)
	}
}

// where is the set that has an address, of the routes' sets and of those of routes that are
// being removed.
func (b *lab) where(a string) (sets string) {
	b.t.Helper()
	for _, route := range []string{"vpn", "office", "tunnel"} {
		for _, set := range []string{route + "4", route + "6"} {
			elems, _ := nft.ReadElements(nft.SetRef{Family: "inet", Table: "nameroute", Name: set})
			for _, e := range elems {
				if e.Addr.String() == a {
					sets += set + " "
				}
			}
		}
	}
	return strings.TrimSpace(sets)
}

func (b *lab) wantWhere(when string, want map[string]string) {
	b.t.Helper()
	for a, set := range want {
		eventually(b.t, func() bool { return b.where(a) == set })
		if got := b.where(a); got != set {
			b.t.Errorf("%s: %s is in %q, want %q", when, a, got, set)
		}
	}
}

// What a route has learned follows its names when routes are renamed and lists are moved. What
// no block lists any more goes; where a name is not known, an address goes the way of most.
func TestAddressesFollow(t *testing.T) {
	b := newLab(t)
	b.start()
	b.learn("vpn", "a.example.", time.Hour, "8.8.8.8", "2606:4700::1")
	b.learn("vpn", "b.example.", 2*time.Hour, "8.8.4.4")
	b.learn("vpn", "", time.Hour, "7.7.7.7")
	b.learn("office", "work.example.", time.Hour, "9.9.9.9")

	renamed := strings.Replace(labConfig, "vpn:", "tunnel:", 1)
	b.use(renamed, "tunnel", "mine", "office", "work")
	b.wantWhere("renamed", map[string]string{"8.8.8.8": "tunnel4", "2606:4700::1": "tunnel6", "8.8.4.4": "tunnel4", "7.7.7.7": "tunnel4", "9.9.9.9": "office4"})
	if got := b.left("tunnel", "8.8.4.4"); !about(got, 2*time.Hour) {
		t.Errorf("8.8.4.4 lives %v", got)
	}

	b.use(renamed, "tunnel", "work", "office", "mine")
	b.wantWhere("the lists were swapped", map[string]string{"8.8.8.8": "office4", "2606:4700::1": "office6", "7.7.7.7": "tunnel4", "9.9.9.9": "tunnel4"})

	// A block that names a route that is gone keeps its addresses from the WAN.
	removed := strings.Replace(renamed, "  office:\n    interface: tun1\n", "", 1)
	b.use(removed, "tunnel", "work", "office", "mine")
	time.Sleep(b.c.timers.Removed + 500*time.Millisecond)
	b.c.Kick()
	b.wantWhere("the route is gone, its block is not", map[string]string{"8.8.8.8": "office4", "2606:4700::1": "office6"})

	b.use(removed, "tunnel", "work")
	b.wantWhere("the route was removed", map[string]string{"8.8.8.8": "", "2606:4700::1": "", "9.9.9.9": "tunnel4"})
}

// A route that is being removed is blocked, unless another one has its mark: that is the same
// route by another name.
func TestWithClosing(t *testing.T) {
	old := parse(t, "routes:\n  vpn: {interface: tun0, mark: 0x01000000}\n  gone: {interface: tun1, mark: 0x02000000}\n")
	now := parse(t, "routes:\n  tunnel: {interface: tun0, mark: 0x01000000}\n")
	spec := firewall.Spec{Config: now, Egress: map[string]firewall.Egress{"tunnel": {Links: []string{"tun0"}}}}
	withClosing(&spec, old.Routes)
	if len(now.Routes) != 1 {
		t.Error("the configuration was changed")
	}
	text := firewall.Desired(spec).String()
	for _, want := range []string{
		`meta mark & 0x7f000000 == 0x01000000 oifname != "tun0" counter packets 0 bytes 0 drop comment "vpn: kill switch"`,
		`meta mark & 0x7f000000 == 0x02000000 counter packets 0 bytes 0 drop comment "gone: kill switch"`,
		`ip daddr @gone4`, `ip6 daddr @vpn6`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("lacks %q", want)
		}
	}
	if t.Failed() {
		t.Log(text)
	}
}
