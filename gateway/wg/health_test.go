package wg

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/nameroute/nameroute/gateway"
)

// step is one status of a tunnel with one peer: seconds since the start, seconds of
// the last handshake (-1: never), counters, and what is expected.
type step struct {
	at, shook int
	rx, tx    int64
	down      bool
}

func (s step) status(key wgtypes.Key, start time.Time) PeerStatus {
	p := PeerStatus{PublicKey: key, RX: s.rx, TX: s.tx}
	if s.shook >= 0 {
		p.LastHandshake = start.Add(time.Duration(s.shook) * time.Second)
	}
	return p
}

func TestHealth(t *testing.T) {
	tests := []struct {
		name  string
		steps []step
	}{
		{"idle", []step{{0, 0, 500, 500, false}, {10, 0, 500, 532, false}, {185, 0, 500, 532, false}, {90000, 0, 500, 532, false}}},
		{"idle after the peer spoke last", []step{ // its rekey, then our passive keepalive at 129 s
			{0, 0, 500, 500, false}, {119, 0, 900, 900, false}, {130, 0, 900, 932, false}, {181, 0, 900, 932, false}, {999, 0, 900, 932, false}}},
		{"silent peer under traffic", []step{
			{0, 0, 500, 500, false}, {60, 0, 500, 5000, false}, {125, 0, 500, 9000, false}, {150, 0, 500, 9148, false},
			{180, 0, 500, 9300, false}, {181, 0, 500, 9300, true}, {300, 0, 500, 9900, true}}},
		{"idle tunnel is used and answered", []step{
			{0, 0, 500, 500, false}, {1000, 0, 500, 648, false}, {1001, 1000, 592, 800, false}}},
		{"idle tunnel is used, a reply comes late", []step{
			{0, 0, 500, 500, false}, {1000, 0, 500, 648, false}, {1006, 0, 500, 796, false}, {1011, 1010, 592, 900, false}}},
		{"idle tunnel is used, no answer", []step{
			{0, 0, 500, 500, false}, {1000, 0, 500, 648, false}, {1010, 0, 500, 944, false}, {1016, 0, 500, 1092, true}}},
		{"keepalives only, peer answers", []step{
			{0, 0, 500, 500, false}, {25, 0, 500, 532, false}, {100, 0, 500, 628, false},
			{125, 125, 592, 808, false}, {250, 250, 684, 1100, false}}},
		{"keepalives only, peer is the initiator", []step{ // ours are answered by nothing until 180 s
			{0, 0, 500, 500, false}, {110, 0, 500, 628, false}, {125, 0, 500, 660, false}, {150, 0, 500, 692, false}, {175, 0, 500, 724, false},
			{190, 0, 500, 724, false}, {200, 0, 500, 904, false}, {201, 200, 592, 936, false}}},
		{"keepalives only, peer silent", []step{
			{0, 0, 500, 500, false}, {100, 0, 500, 628, false}, {125, 0, 500, 808, false}, {181, 0, 500, 2400, true}}},
		{"back on a new handshake", []step{
			{0, 0, 500, 500, false}, {130, 0, 500, 9000, false}, {200, 0, 500, 9500, true}, {260, 0, 500, 9900, true},
			{300, 300, 592, 9948, false}, {320, 300, 600, 9980, false}}},
		{"its handshakes reach us, our answers do not arrive", []step{ // rx grows, no session
			{0, 0, 500, 500, false}, {130, 0, 500, 9000, false}, {200, 0, 648, 9500, true}, {205, 0, 796, 9600, true}}},
		{"device recreated", []step{
			{0, 0, 500, 500, false}, {130, 0, 500, 9000, false}, {200, 0, 500, 9500, true}, {201, -1, 0, 0, true}, {202, -1, 0, 148, true}, {204, 203, 92, 148, false}}},
		{"first update with an old device", []step{
			{500, 0, 500, 500, false}, {505, 0, 500, 648, false}, {521, 0, 500, 796, true}}},
	}
	key := wgtypes.Key{1}
	start := time.Now()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := NewHealth(gateway.Handshake{})
			for _, s := range tt.steps {
				now := start.Add(time.Duration(s.at) * time.Second)
				o := h.Observe(now, Status{LinkUp: true, Peers: []PeerStatus{s.status(key, start)}})
				down, why := o.State == Down, o.Reason
				if down != s.down || down != (why != "") {
					t.Errorf("at %d s: down %v (%q), want %v", s.at, down, why, s.down)
				}
			}
		})
	}
}

func TestHealthPeers(t *testing.T) {
	start := time.Now()
	h := NewHealth(gateway.Handshake{})
	down := func(at int, peers ...PeerStatus) bool {
		return h.Observe(start.Add(time.Duration(at)*time.Second), Status{LinkUp: true, Peers: peers}).State == Down
	}
	peer := func(id byte, shook int, rx, tx int64) PeerStatus {
		return step{shook: shook, rx: rx, tx: tx}.status(wgtypes.Key{id}, start)
	}
	down(0, peer(1, 0, 1, 1), peer(2, 0, 1, 1), peer(3, -1, 0, 0))
	down(130, peer(1, 0, 1, 5000), peer(2, 0, 1, 1), peer(3, -1, 0, 0))
	if down(200, peer(1, 0, 1, 6000), peer(2, 0, 1, 1), peer(3, -1, 0, 0)) {
		t.Error("down while one peer is only idle")
	}
	want := func(at int, o Observation, states ...State) {
		t.Helper()
		for i, s := range states {
			if got := o.Peers[wgtypes.Key{byte(i + 1)}]; got != s {
				t.Errorf("at %d s: peer %d is %q, want %q", at, i+1, got, s)
			}
		}
	}
	at := func(at int, peers ...PeerStatus) Observation {
		return h.Observe(start.Add(time.Duration(at)*time.Second), Status{LinkUp: true, Peers: peers})
	}
	want(201, at(201, peer(1, 0, 1, 6000), peer(2, 0, 1, 1), peer(3, -1, 0, 0)), Down, Idle, Waiting)
	down(300, peer(1, 0, 1, 7000), peer(2, 0, 1, 5000), peer(3, -1, 0, 148))
	if !down(320, peer(1, 0, 1, 8000), peer(2, 0, 1, 6000), peer(3, -1, 0, 296)) {
		t.Error("up while every peer that ever shook hands is silent")
	}
	if down(325, peer(1, 0, 1, 8000), peer(2, 322, 93, 6148), peer(3, -1, 0, 296)) {
		t.Error("down with a peer that is back")
	}
	want(326, at(326, peer(1, 0, 1, 8000), peer(2, 322, 93, 6148), peer(3, -1, 0, 296)), Down, Up, Down)
	if !down(330, peer(1, 0, 1, 8000)) {
		t.Error("up after the only good peer was removed")
	}
}

func TestHealthLink(t *testing.T) {
	h := NewHealth(gateway.Handshake{})
	now := time.Now()
	p := PeerStatus{LastHandshake: now}
	if o := h.Observe(now, Status{Peers: []PeerStatus{p}}); o.State != Down || o.Reason != "the link is down or missing" {
		t.Errorf("%+v", o)
	}
	if h.Observe(now.Add(time.Second), Status{LinkUp: true, Peers: []PeerStatus{p}}).State == Down {
		t.Error("down with the link up again")
	}
}

// A router that learns the time after start must not take its
// handshake for years old.
func TestHealthClockJump(t *testing.T) {
	h := NewHealth(gateway.Handshake{})
	start := time.Now()
	wall := time.Date(1970, 1, 1, 0, 1, 0, 0, time.UTC) // the device's clock
	key := wgtypes.Key{1}
	h.Observe(start, Status{LinkUp: true, Peers: []PeerStatus{{PublicKey: key}}})
	h.Observe(start.Add(time.Second), Status{LinkUp: true, Peers: []PeerStatus{{PublicKey: key, LastHandshake: wall, RX: 92, TX: 148}}})
	h.Observe(start.Add(2*time.Second), Status{LinkUp: true, Peers: []PeerStatus{{PublicKey: key, LastHandshake: wall, RX: 92, TX: 9000}}})
	if o := h.Observe(start.Add(30*time.Second), Status{LinkUp: true, Peers: []PeerStatus{{PublicKey: key, LastHandshake: wall, RX: 92, TX: 9999}}}); o.State == Down {
		t.Error(o.Reason)
	}
}

// A handshake from before the clock was set looks years old to a
// process that starts after it. As long as answers come it is not taken for that; a far
// end that is silent still shows.
func TestHealthClockAtStart(t *testing.T) {
	for _, c := range []struct {
		name      string
		handshake time.Duration // before the first update
		answers   bool
		down      bool
	}{
		{"set ahead", 56 * 365 * 24 * time.Hour, true, false},
		{"set back", -56 * 365 * 24 * time.Hour, true, false},
		{"stale and silent", 10 * time.Minute, false, true},
	} {
		h := NewHealth(gateway.Handshake{})
		start := time.Now()
		p := PeerStatus{PublicKey: wgtypes.Key{1}, LastHandshake: start.Add(-c.handshake).Round(0), RX: 5000, TX: 5000}
		for s := range 100 { // the next handshake is due after 120 s at most
			p.TX += 300
			if c.answers {
				p.RX += 300
			}
			o := h.Observe(start.Add(time.Duration(s)*time.Second), Status{LinkUp: true, Peers: []PeerStatus{p}})
			if (o.State == Down) != c.down && s > 20 {
				t.Errorf("%s: after %d s %+v", c.name, s, o)
				break
			}
		}
	}
}

func TestHealthShortLimit(t *testing.T) {
	h := NewHealth(gateway.Handshake{Limit: 3 * time.Second})
	start := time.Now()
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	down := func(ms int, rx, tx int64) bool {
		return h.Observe(at(ms), Status{LinkUp: true, Peers: []PeerStatus{{PublicKey: wgtypes.Key{1}, LastHandshake: start, RX: rx, TX: tx}}}).State == Down
	}
	for ms := 0; ms < 20000; ms += 500 {
		if n := int64(ms); down(ms, n, n) {
			t.Fatalf("down at %d ms with answers", ms)
		}
	}
	down(20500, 19500, 21000)
	if down(21500, 19500, 22000) {
		t.Error("down before half the limit is over")
	}
	if !down(22000, 19500, 22500) {
		t.Error("up though nothing answers")
	}
}

// A peer that is recreated while it is silent counts from zero, which is no answer.
func TestHealthRemade(t *testing.T) {
	start := time.Now()
	h := NewHealth(gateway.Handshake{})
	down := func(at int, s step) bool {
		return h.Observe(start.Add(time.Duration(at)*time.Second), Status{LinkUp: true, Peers: []PeerStatus{s.status(wgtypes.Key{1}, start)}}).State == Down
	}
	down(0, step{shook: 0, rx: 100, tx: 100})
	down(170, step{shook: 0, rx: 100, tx: 5000})
	if !down(190, step{shook: 0, rx: 100, tx: 6000}) {
		t.Fatal("up though nothing answers")
	}
	for at := 191; at < 250; at += 5 {
		if !down(at, step{shook: -1, rx: 0, tx: int64(at - 191)}) {
			t.Fatalf("up at %d s without an answer", at)
		}
	}
	if down(251, step{shook: 250, rx: 92, tx: 300}) {
		t.Error("down with a peer that answers")
	}

	// One that was heard until then, and is not there any more.
	h = NewHealth(gateway.Handshake{})
	down(0, step{shook: 0, rx: 100, tx: 100})
	down(10, step{shook: -1, rx: 0, tx: 0})
	if down(100, step{shook: -1, rx: 0, tx: 5000}) {
		t.Error("down before the limit")
	}
	down(181, step{shook: -1, rx: 0, tx: 6000})
	if !down(200, step{shook: -1, rx: 0, tx: 7000}) {
		t.Error("up although nothing answers after it was recreated")
	}
}

// A tunnel that has never shaken hands waits, is down after its timeout whatever it sends,
// and comes back by a handshake; an unused one is idle, or due for a probe.
func TestHealthUnknown(t *testing.T) {
	start := time.Now()
	see := func(h *Health, at int, s step) Observation {
		return h.Observe(start.Add(time.Duration(at)*time.Second), Status{LinkUp: true, Peers: []PeerStatus{s.status(wgtypes.Key{1}, start)}})
	}
	never := step{shook: -1}
	h := NewHealth(gateway.Handshake{Timeout: 40 * time.Second})
	for _, c := range []struct {
		at   int
		s    step
		want Observation
	}{
		{0, never, Observation{State: Waiting, Never: true}},
		{39, step{shook: -1, tx: 1480}, Observation{State: Waiting, Never: true}},
		{40, step{shook: -1, tx: 1628}, Observation{State: Down, Never: true}},
		{900, step{shook: -1, tx: 2000}, Observation{State: Down, Never: true}},
		{901, step{shook: 901, rx: 92, tx: 2148}, Observation{State: Up}},
		{1100, step{shook: 901, rx: 92, tx: 2148}, Observation{State: Idle}},
	} {
		if got := see(h, c.at, c.s); !cmp.Equal(got, c.want) {
			t.Errorf("at %d s: %+v, want %+v", c.at, got, c.want)
		}
	}
	h.SetLimits(gateway.Handshake{Probe: 5 * time.Minute})
	for _, c := range []struct {
		at   int
		s    step
		want Observation
	}{
		{1200, step{shook: 901, rx: 92, tx: 2148}, Observation{State: Up}},
		{1201, step{shook: 901, rx: 92, tx: 2148}, Observation{State: Up, Probe: true}},
		{1203, step{shook: 901, rx: 92, tx: 2296}, Observation{State: Up, Probe: true}},
		{1218, step{shook: 901, rx: 92, tx: 2592}, Observation{State: Down, Probe: true, Reason: "peer is silent: last handshake 5m17s ago, packets unanswered"}},
		{1220, step{shook: 1220, rx: 184, tx: 2740}, Observation{State: Up}},
	} {
		if got := see(h, c.at, c.s); !cmp.Equal(got, c.want) {
			t.Errorf("with probes, at %d s: %+v, want %+v", c.at, got, c.want)
		}
	}
}
