package sidecar

import (
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/wg"
)

// A tunnel that has never shaken hands waits, closed as one that is up; after its timeout
// the route is down, so that it falls back, and the first handshake takes it up.
func TestFirstHandshake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		peer := wg.PeerStatus{Endpoint: netip.MustParseAddrPort("192.0.2.9:51820")}
		r := runFake(t, func(f *fakeRun, _ *Options) {
			f.peers = []wg.PeerStatus{peer}
			f.cfg.Routes[0].Handshake = gateway.Handshake{Timeout: 40 * time.Second}
		})
		r.want("start", blocked, opened, marked, "keep wg0 trying: true", routed, forwarded)
		d := r.device()
		d.set(func(s *wg.Status) { s.Peers[0].TX = 148 })
		time.Sleep(39 * time.Second)
		const unanswered = "no handshake yet: sent to 192.0.2.9:51820, nothing came back"
		if s := r.route("vpn"); s.State != wg.Waiting || s.Up || !strings.HasPrefix(s.Reason, unanswered) || time.Since(s.Since) < 38*time.Second {
			t.Errorf("before the timeout: %+v", s)
		}
		r.want("nothing changes while it waits")
		time.Sleep(2 * time.Second)
		r.want("timeout", blocked)
		if s := r.route("vpn"); s.State != wg.Down || !strings.HasPrefix(s.Reason, unanswered) {
			t.Errorf("after the timeout: %+v", s)
		}
		d.set(func(s *wg.Status) { s.Peers[0].LastHandshake, s.Peers[0].RX = time.Now(), 92 })
		time.Sleep(2 * time.Second)
		r.want("handshake", "keep wg0 trying: false", routed)
		if s := r.route("vpn"); s.State != wg.Up || !s.Up || s.Reason != "" {
			t.Errorf("after the handshake: %+v", s)
		}
		log := r.log.String()
		for _, line := range []string{`level=INFO msg="route waits for the first handshake of its tunnel"`, `level=WARN msg="route is down" route=vpn reason="` + unanswered, `level=INFO msg="route is up" route=vpn`} {
			if strings.Count(log, line) != 1 {
				t.Errorf("want once: %s\n%s", line, log)
			}
		}
	})
}

// The reason names what is known of a tunnel without a handshake, and what is not.
func TestNoHandshake(t *testing.T) {
	at := netip.MustParseAddrPort("192.0.2.9:51820")
	for _, c := range []struct {
		name, conf string
		peers      []wg.PeerStatus
		want       string
	}{
		{"server off, blocked or wrong key", goodConf, []wg.PeerStatus{{Endpoint: at, TX: 148}},
			"sent to 192.0.2.9:51820, nothing came back: not known is whether it is off, UDP to it is blocked, or a key is wrong, which WireGuard never answers"},
		{"no way there", goodConf, []wg.PeerStatus{{Endpoint: at}}, "nothing can be sent to 192.0.2.9:51820: the WAN has no way there"},
		{"it is heard", goodConf, []wg.PeerStatus{{Endpoint: at, TX: 148, RX: 148}}, "192.0.2.9:51820 is heard, but does not hear this box, or refuses it: check the clock (date) and that no other box uses the same key"},
		{"no endpoint", strings.Replace(goodConf, "Endpoint = 192.0.2.9:51820\n", "", 1), []wg.PeerStatus{{}}, "no peer has an Endpoint in CONF, and none has connected to this box"},
		{"name", strings.Replace(goodConf, "192.0.2.9", "vpn.example.net", 1), []wg.PeerStatus{{}}, "the endpoint is not resolved: CONF:4: endpoint: resolve vpn.example.net: "},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := runFake(t, func(f *fakeRun, _ *Options) {
				f.peers = c.peers
				f.provide(c.conf)
				f.cfg.WANResolvers = []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")} // where nothing can listen
			})
			time.Sleep(10 * time.Second)
			s := r.route("vpn")
			want := "no handshake yet: " + strings.ReplaceAll(c.want, "CONF", r.conf)
			if s.State != wg.Waiting || !strings.HasPrefix(s.Reason, want) {
				t.Errorf("%s: %s, %s\nwant %s", c.name, s.State, s.Reason, want)
			}
		})
	}
}

// An unused tunnel is made to shake hands now and then: a peer that answers is left alone
// again, a dead one is known before the route is needed.
func TestUnusedTunnelIsProbed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := runFake(t, func(f *fakeRun, _ *Options) {
			f.cfg.Routes[0].Handshake = gateway.Handshake{Probe: 5 * time.Minute}
		})
		r.want("start", blocked, opened, marked, routed, forwarded)
		d := r.device()
		time.Sleep(290 * time.Second)
		r.want("before it is due")
		time.Sleep(12 * time.Second)
		r.want("due", "keep wg0 trying: true")
		d.set(func(s *wg.Status) { s.Peers[0].LastHandshake, s.Peers[0].RX, s.Peers[0].TX = time.Now(), 92, 148 })
		time.Sleep(2 * time.Second)
		r.want("answered", "keep wg0 trying: false")
		if s := r.route("vpn"); s.State != wg.Up {
			t.Errorf("answered: %+v", s)
		}
		time.Sleep(298 * time.Second)
		for range 12 { // it tries, and nothing comes back
			time.Sleep(2 * time.Second)
			d.set(func(s *wg.Status) { s.Peers[0].TX += 148 })
		}
		time.Sleep(4 * time.Second)
		r.want("unanswered", "keep wg0 trying: true", blocked)
		if s := r.route("vpn"); s.State != wg.Down || !strings.HasPrefix(s.Reason, "peer is silent") {
			t.Errorf("unanswered: %+v", s)
		}
	})
}
