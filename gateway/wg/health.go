package wg

import (
	"fmt"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// DefaultHandshakeLimit is the age at which a tunnel's last handshake no longer proves
// that its peer is there: WireGuard's REJECT_AFTER_TIME, after which no session is used
// (whitepaper section 6.1).
const DefaultHandshakeLimit = rejectAfter

const (
	rejectAfter = 180 * time.Second
	// initiationSize is the size of a handshake initiation (whitepaper section 5.4.2),
	// in bytes. Fewer bytes need no answer: a keepalive has 32, and at most four of them
	// are sent between due and limit without the peer refreshing the session.
	initiationSize = 148
)

// Health decides from a tunnel's counters whether it is down: its link is gone, or
// the last handshake of every peer that ever had one is older than the limit while
// packets went unanswered. A tunnel that never shook hands counts as up, and so
// does one that is idle. It reads no clock and is not safe for concurrent use.
type Health struct {
	limit time.Duration
	peers map[wgtypes.Key]*watched
}

// watched is what is known of one peer. Times are on the clock of Observe.
type watched struct {
	handshake  time.Time // as the device showed it last
	at         time.Time // when that was
	first      time.Time // when the peer was first seen
	seen       time.Time // when the peer was last updated
	rx, tx     int64
	unanswered int64     // bytes sent since the session was due for renewal
	since      time.Time // when they became enough to need an answer
}

// NewHealth returns a Health with a limit for the age of a handshake, of at least a
// second; 0 is DefaultHandshakeLimit.
func NewHealth(limit time.Duration) *Health {
	if limit <= 0 {
		limit = DefaultHandshakeLimit
	}
	return &Health{limit: limit, peers: map[wgtypes.Key]*watched{}}
}

// due returns the age at which WireGuard renews a session (REKEY_AFTER_TIME, 120 s).
func (h *Health) due() time.Duration { return h.limit * 2 / 3 }

// patience returns how long packets may go unanswered: 15 s, which is KEEPALIVE_TIMEOUT
// and REKEY_TIMEOUT together, after which WireGuard itself considers a peer silent.
func (h *Health) patience() time.Duration { return h.limit / 12 }

// Observe takes the tunnel's current status and returns whether the tunnel is down, and
// the reason. now should carry a monotonic reading: a router's wall clock jumps when it
// first learns the time, and that must not make a handshake look old.
func (h *Health) Observe(now time.Time, s Status) (down bool, reason string) {
	if !s.LinkUp {
		return true, "the link is down or missing"
	}
	present := make(map[wgtypes.Key]bool, len(s.Peers))
	shook, silent := 0, 0
	var youngest time.Duration
	for _, p := range s.Peers {
		present[p.PublicKey] = true
		w := h.update(now, p)
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
	}
	for key := range h.peers {
		if !present[key] {
			delete(h.peers, key)
		}
	}
	if shook == 0 || silent < shook {
		return false, ""
	}
	return true, fmt.Sprintf("peer is silent: last handshake %v ago, packets unanswered", youngest.Round(time.Second))
}

func (h *Health) silent(now time.Time, w *watched) bool {
	return now.Sub(w.at) > h.limit && w.unanswered >= initiationSize && now.Sub(w.since) >= h.patience()
}

// update adds a peer's counters to what is known of it.
func (h *Health) update(now time.Time, p PeerStatus) *watched {
	w := h.peers[p.PublicKey]
	if w == nil {
		w = &watched{handshake: p.LastHandshake, at: now, first: now, rx: p.RX, tx: p.TX}
		if age := now.Sub(p.LastHandshake); !p.LastHandshake.IsZero() && age > 0 {
			w.at = now.Add(-age)
		}
		h.peers[p.PublicKey] = w
	}
	// A recreated peer still owes the answers of the old one.
	recreated := p.LastHandshake.IsZero() && !w.handshake.IsZero()
	if !recreated && !p.LastHandshake.Equal(w.handshake) {
		// The wall clock says how long ago it was, but at most since the last update.
		age := min(max(now.Sub(p.LastHandshake), 0), now.Sub(w.seen))
		w.handshake, w.at, w.unanswered = p.LastHandshake, now.Add(-age), 0
	}
	age := now.Sub(w.at)
	switch {
	case p.TX < w.tx || p.RX < w.rx: // a new device counts from zero
		if !recreated {
			w.unanswered = 0
		}
	case p.RX > w.rx && min(age, now.Sub(w.first)) <= max(h.limit, rejectAfter):
		// Later no session is left, and only a handshake is an answer. The age of a
		// session that began before the first update is only known from the wall clock,
		// which may have been set since.
		w.unanswered = 0
	case p.TX > w.tx && age > h.due():
		if w.unanswered < initiationSize {
			w.since = now
		}
		w.unanswered += p.TX - w.tx
	}
	w.rx, w.tx, w.seen = p.RX, p.TX, now
	return w
}
