package wg

import (
	"cmp"
	"fmt"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/nameroute/nameroute/gateway"
)

const (
	// rejectAfter is WireGuard's REJECT_AFTER_TIME, after which no session is used
	// (whitepaper section 6.1).
	rejectAfter = 180 * time.Second
	// initiationSize is the size of a handshake initiation (whitepaper section 5.4.2),
	// in bytes. Fewer bytes need no answer: a keepalive has 32, and at most four of them
	// are sent between due and limit without the peer refreshing the session.
	initiationSize = 148
)

// State is what a tunnel's handshakes say of it.
type State string

// The states of a tunnel. Whether one that waits or is idle carries packets is unknown until the
// next handshake.
const (
	Up      State = "up"
	Waiting State = "waiting" // no handshake yet, and within the time for the first one
	Idle    State = "idle"    // the last handshake is old, and nothing was sent that needs an answer
	Down    State = "down"
)

// Observation is what Observe found.
type Observation struct {
	State  State
	Never  bool   // no peer has ever shaken hands
	Probe  bool   // a handshake is due, to learn whether the peer is there
	Reason string // why the tunnel is down, unless Never says it

	Peers map[wgtypes.Key]State // what is known of each; nil: there is only one, or the link is gone
}

// Health decides from a tunnel's counters what is known of it. It is down where its link is
// gone, where the first handshake does not come in time, or where the last handshake of
// every peer that ever had one is older than the limit while packets went unanswered. It
// reads no clock and is not safe for concurrent use.
type Health struct {
	limits gateway.Handshake
	peers  map[wgtypes.Key]*watched
	began  time.Time // of waiting for the first handshake
}

// watched is what is known of one peer. Times are on the clock of Observe.
type watched struct {
	handshake  time.Time // as the device showed it last
	at         time.Time // when that was
	heard      time.Time // when the peer was last known to be there
	first      time.Time // when the peer was first seen
	seen       time.Time // when the peer was last updated
	rx, tx     int64
	unanswered int64     // bytes sent since the session was due for renewal
	since      time.Time // when they became enough to need an answer
}

// NewHealth returns a Health with these limits, of which zero ones are the defaults.
func NewHealth(limits gateway.Handshake) *Health {
	h := &Health{peers: map[wgtypes.Key]*watched{}}
	h.SetLimits(limits)
	return h
}

// SetLimits replaces the limits.
func (h *Health) SetLimits(limits gateway.Handshake) {
	h.limits = gateway.Handshake{Timeout: cmp.Or(limits.Timeout, gateway.DefaultHandshakeTimeout),
		Limit: cmp.Or(limits.Limit, gateway.DefaultHandshakeLimit), Probe: limits.Probe}
}

// due returns the age at which a session is to be renewed, as WireGuard does after 120 s
// (REKEY_AFTER_TIME).
func (h *Health) due() time.Duration { return h.limits.Limit * 2 / 3 }

// patience returns how long packets may go unanswered: 15 s, which is KEEPALIVE_TIMEOUT
// and REKEY_TIMEOUT together, after which WireGuard itself considers a peer silent. Limits
// of seconds are those of tests.
func (h *Health) patience() time.Duration {
	if h.limits.Limit >= gateway.MinHandshakeLimit {
		return defaultPatience
	}
	return h.limits.Limit / 2
}

// Observe takes the tunnel's current status and returns what is known of it. now should
// carry a monotonic reading: a router's wall clock jumps when it first learns the time, and
// that must not make a handshake look old.
func (h *Health) Observe(now time.Time, s Status) Observation {
	if !s.LinkUp {
		return Observation{State: Down, Reason: "the link is down or missing"}
	}
	present := make(map[wgtypes.Key]bool, len(s.Peers))
	var peers map[wgtypes.Key]State
	if len(s.Peers) > 1 {
		peers = make(map[wgtypes.Key]State, len(s.Peers))
	}
	shook, silent := 0, 0
	var youngest, quiet time.Duration
	for _, p := range s.Peers {
		present[p.PublicKey] = true
		w := h.update(now, p)
		if peers != nil {
			peers[p.PublicKey] = h.peer(now, w)
		}
		if w.handshake.IsZero() {
			continue
		}
		shook++
		if h.silent(now, w) {
			silent++
		}
		if age := now.Sub(w.at); shook == 1 || age < youngest {
			youngest = age
		}
		if unheard := now.Sub(w.heard); shook == 1 || unheard < quiet {
			quiet = unheard
		}
	}
	for key := range h.peers {
		if !present[key] {
			delete(h.peers, key)
		}
	}
	if shook == 0 {
		o := h.first(now)
		o.Peers = peers
		return o
	}
	h.began = time.Time{}
	o := Observation{State: Up, Peers: peers, Probe: h.limits.Probe > 0 && quiet >= h.limits.Probe}
	switch {
	case silent == shook:
		o.State = Down
		o.Reason = fmt.Sprintf("peer is silent: last handshake %v ago, packets unanswered", youngest.Round(time.Second))
	case h.limits.Probe == 0 && quiet > h.limits.Limit:
		o.State = Idle
	}
	return o
}

// first waits for the first handshake.
func (h *Health) first(now time.Time) Observation {
	if h.began.IsZero() {
		h.began = now
	}
	if now.Sub(h.began) >= h.limits.Timeout {
		return Observation{State: Down, Never: true}
	}
	return Observation{State: Waiting, Never: true}
}

// peer says what is known of one of several peers: it is down where what was sent to it went
// unanswered, for the limit, or for the time of a first handshake.
func (h *Health) peer(now time.Time, w *watched) State {
	switch {
	case w.handshake.IsZero() && w.tx >= initiationSize && now.Sub(w.first) >= h.limits.Timeout, !w.handshake.IsZero() && h.silent(now, w):
		return Down
	case w.handshake.IsZero():
		return Waiting
	case now.Sub(w.heard) > h.limits.Limit:
		return Idle
	}
	return Up
}

func (h *Health) silent(now time.Time, w *watched) bool {
	return now.Sub(w.at) > h.limits.Limit && w.unanswered >= initiationSize && now.Sub(w.since) >= h.patience()
}

// update adds a peer's counters to what is known of it.
func (h *Health) update(now time.Time, p PeerStatus) *watched {
	w := h.peers[p.PublicKey]
	if w == nil {
		w = &watched{handshake: p.LastHandshake, at: now, first: now, rx: p.RX, tx: p.TX}
		if age := now.Sub(p.LastHandshake); !p.LastHandshake.IsZero() && age > 0 {
			w.at = now.Add(-age)
		}
		w.heard = w.at
		h.peers[p.PublicKey] = w
	}
	// A recreated peer still owes the answers of the old one.
	recreated := p.LastHandshake.IsZero() && !w.handshake.IsZero()
	if !recreated && !p.LastHandshake.Equal(w.handshake) {
		// The wall clock says how long ago it was, but at most since the last update.
		age := min(max(now.Sub(p.LastHandshake), 0), now.Sub(w.seen))
		w.handshake, w.at, w.unanswered = p.LastHandshake, now.Add(-age), 0
		w.heard = w.at
	}
	age := now.Sub(w.at)
	switch {
	case p.TX < w.tx || p.RX < w.rx: // a new device counts from zero
		if !recreated {
			w.unanswered = 0
		}
	case p.RX > w.rx && min(age, now.Sub(w.first)) <= max(h.limits.Limit, rejectAfter):
		// Later no session is left, and only a handshake is an answer. The age of a
		// session that began before the first update is only known from the wall clock,
		// which may have been set since.
		w.unanswered, w.heard = 0, now
	case p.TX > w.tx && age > h.due():
		if w.unanswered < initiationSize {
			w.since = now
		}
		w.unanswered += p.TX - w.tx
	}
	w.rx, w.tx, w.seen = p.RX, p.TX, now
	return w
}
