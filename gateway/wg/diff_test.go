package wg

import (
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/nameroute/nameroute/gateway/provider"
)

// deviceOf is the device that the kernel would show for a wish that was applied.
func deviceOf(w Want) *wgtypes.Device {
	d := &wgtypes.Device{PrivateKey: w.PrivateKey, ListenPort: w.ListenPort, FirewallMark: int(w.FirewallMark)}
	for _, p := range w.Peers {
		wp := wgtypes.Peer{PublicKey: p.PublicKey, PresharedKey: p.PresharedKey,
			PersistentKeepaliveInterval: max(p.Keepalive, 0), AllowedIPs: ipNets(p.AllowedIPs)}
		if p.Endpoint.IsValid() {
			wp.Endpoint = net.UDPAddrFromAddrPort(p.Endpoint)
		}
		d.Peers = append(d.Peers, wp)
	}
	return d
}

func TestDiff(t *testing.T) {
	one, two := mustKey(t, keyPeer), mustKey(t, keyTwo)
	at := netip.MustParseAddrPort("192.0.2.1:51820")
	base := func() Want {
		return Want{
			PrivateKey: mustKey(t, keyOwn), ListenPort: 51820, FirewallMark: 0x7f000000,
			Peers: []WantPeer{
				{PublicKey: one, PresharedKey: mustKey(t, keyPSK), Endpoint: at, AllowedIPs: pfx("0.0.0.0/0", "::/0"), Keepalive: 25 * time.Second},
				{PublicKey: two, AllowedIPs: pfx("10.0.0.0/8"), Keepalive: provider.KeepaliveOff},
			},
		}
	}
	tests := []struct {
		name    string
		now     func(*wgtypes.Device)
		want    func(*Want)
		set     map[wgtypes.Key]netip.AddrPort
		changes []string
		check   func(*testing.T, wgtypes.Config)
	}{
		{name: "nothing"},
		{name: "mark", want: func(w *Want) { w.FirewallMark = 1 }, changes: []string{"fwmark 0x1"}},
		{name: "private key", want: func(w *Want) { w.PrivateKey = mustKey(t, keyPSK) }, changes: []string{"private key"}},
		{name: "port", want: func(w *Want) { w.ListenPort = 7 }, changes: []string{"listen port 7"}},
		{name: "port left to the kernel", want: func(w *Want) { w.ListenPort = 0 }},
		{name: "peer leaves", want: func(w *Want) { w.Peers = w.Peers[:1] }, changes: []string{"peer " + keyTwo[:8] + " removed"},
			check: func(t *testing.T, c wgtypes.Config) {
				if p := c.Peers[0]; !p.Remove || !p.UpdateOnly || p.PublicKey != two {
					t.Errorf("%+v", p)
				}
			}},
		{name: "peer comes", now: func(d *wgtypes.Device) { d.Peers = d.Peers[1:] }, changes: []string{"peer " + keyPeer[:8] + " added"},
			check: func(t *testing.T, c wgtypes.Config) {
				p := c.Peers[0]
				if p.UpdateOnly || p.Remove || *p.PresharedKey != mustKey(t, keyPSK) || p.Endpoint.String() != at.String() ||
					*p.PersistentKeepaliveInterval != 25*time.Second || len(p.AllowedIPs) != 2 {
					t.Errorf("%+v", p)
				}
			}},
		{name: "psk cleared", want: func(w *Want) { w.Peers[0].PresharedKey = wgtypes.Key{} }, changes: []string{"peer " + keyPeer[:8] + " preshared key"},
			check: func(t *testing.T, c wgtypes.Config) {
				if k := c.Peers[0].PresharedKey; k == nil || *k != (wgtypes.Key{}) {
					t.Error("psk is not cleared")
				}
			}},
		{name: "prefix added: nothing replaced", want: func(w *Want) { w.Peers[1].AllowedIPs = pfx("10.0.0.0/8", "fd00::/8") },
			changes: []string{"peer " + keyTwo[:8] + " allowed ips +fd00::/8"},
			check: func(t *testing.T, c wgtypes.Config) {
				if p := c.Peers[0]; p.ReplaceAllowedIPs || len(p.AllowedIPs) != 1 || !p.UpdateOnly {
					t.Errorf("%+v", p)
				}
			}},
		{name: "prefix moves", want: func(w *Want) {
			w.Peers[0].AllowedIPs, w.Peers[1].AllowedIPs = pfx("0.0.0.0/0"), pfx("10.0.0.0/8", "::/0")
		},
			changes: []string{"peer " + keyPeer[:8] + " allowed ips -::/0", "peer " + keyTwo[:8] + " allowed ips +::/0"},
			check: func(t *testing.T, c wgtypes.Config) {
				if !c.Peers[0].ReplaceAllowedIPs || len(c.Peers[0].AllowedIPs) != 1 {
					t.Errorf("%+v", c.Peers[0])
				}
			}},
		{name: "all prefixes leave", want: func(w *Want) { w.Peers[1].AllowedIPs = nil }, changes: []string{"peer " + keyTwo[:8] + " allowed ips -10.0.0.0/8"}},
		{name: "keepalive", want: func(w *Want) { w.Peers[0].Keepalive = 5 * time.Second }, changes: []string{"peer " + keyPeer[:8] + " keepalive 5s"}},
		{name: "roamed peer is left", now: roam, set: map[wgtypes.Key]netip.AddrPort{one: at}},
		{name: "roamed peer, other wish", now: roam, set: map[wgtypes.Key]netip.AddrPort{one: netip.MustParseAddrPort("192.0.2.9:1")},
			changes: []string{"peer " + keyPeer[:8] + " endpoint 192.0.2.1:51820"}},
		{name: "roamed peer, nothing known", now: roam, changes: []string{"peer " + keyPeer[:8] + " endpoint 192.0.2.1:51820"}},
		{name: "first endpoint", now: func(d *wgtypes.Device) { d.Peers[0].Endpoint = nil },
			changes: []string{"peer " + keyPeer[:8] + " endpoint 192.0.2.1:51820"},
			check: func(t *testing.T, c wgtypes.Config) {
				if len(c.Peers) != 2 || !c.Peers[0].Remove || c.Peers[0].PublicKey != one ||
					c.Peers[1].PublicKey != one || c.Peers[1].UpdateOnly || c.Peers[1].Endpoint.String() != at.String() || len(c.Peers[1].AllowedIPs) != 2 {
					t.Errorf("%+v, want the peer recreated", c.Peers)
				}
			}},
		{name: "endpoint lost", now: func(d *wgtypes.Device) { d.Peers[0].Endpoint, d.Peers[0].LastHandshakeTime = nil, time.Unix(1, 0) }, set: map[wgtypes.Key]netip.AddrPort{one: at},
			changes: []string{"peer " + keyPeer[:8] + " endpoint 192.0.2.1:51820"}},
		{name: "endpoint not resolved", want: func(w *Want) { w.Peers[0].Endpoint = netip.AddrPort{} }},
		{name: "same endpoint, IPv4 in IPv6", now: func(d *wgtypes.Device) { d.Peers[0].Endpoint.IP = d.Peers[0].Endpoint.IP.To16() }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want, device := base(), deviceOf(base())
			if tt.now != nil {
				tt.now(device)
			}
			if tt.want != nil {
				tt.want(&want)
			}
			cfg, changes := Diff(device, want, tt.set)
			if !slices.Equal(changes, tt.changes) {
				t.Errorf("changes %q, want %q", changes, tt.changes)
			}
			if cfg.ReplacePeers {
				t.Error("replaces all peers")
			}
			for _, secret := range []string{keyOwn, keyPSK, keyPeer} {
				if strings.Contains(strings.Join(changes, " "), secret) {
					t.Errorf("a key in %q", changes)
				}
			}
			if tt.check != nil {
				tt.check(t, cfg)
			}
			if len(tt.changes) == 0 && (cfg.PrivateKey != nil || cfg.FirewallMark != nil || cfg.ListenPort != nil || len(cfg.Peers) > 0) {
				t.Errorf("a change without words: %d peers", len(cfg.Peers))
			}
		})
	}
}

func roam(d *wgtypes.Device) {
	d.Peers[0].Endpoint = &net.UDPAddr{IP: net.IPv4(198, 51, 100, 7), Port: 9}
}

// FuzzDesired: whatever a provider's file holds, a device that is as it asks for
// differs in nothing.
func FuzzDesired(f *testing.F) {
	f.Add(head + peer)
	f.Add(head + peer + "[Peer]\nPublicKey = " + keyTwo + "\nAllowedIPs = 0.0.0.0/0, 0.0.0.0/0\nAllowedIPs = 0.0.0.0/0\n")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := provider.Parse("f", []byte(text))
		if err != nil {
			return
		}
		want := Desired(c, nil, 1)
		if cfg, changes := Diff(deviceOf(want), want, nil); len(changes) > 0 {
			t.Errorf("not settled: %v (%d peers)", changes, len(cfg.Peers))
		}
	})
}

func TestSignedIsShort(t *testing.T) {
	many := make([]netip.Prefix, 100)
	for i := range many {
		many[i] = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i), 0, 0}), 16)
	}
	got := formatDiff("allowed ips", many, nil)[0]
	if !strings.HasSuffix(got, "+10.7.0.0/16 and 92 more") {
		t.Error(got)
	}
}
