package wg

import (
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// defaultPatience is KEEPALIVE_TIMEOUT and REKEY_TIMEOUT together (whitepaper section
// 6.1): a peer that is there is heard within that time of anything that is sent to it.
const defaultPatience = 15 * time.Second

// away is a peer that is at another endpoint than the wanted one.
type away struct {
	since  time.Time // when it was first seen there, or last heard
	rx, tx int64     // as they were then
}

// amiss reports whether the next Apply has something to put right: somebody has
// changed the device, for which there is no notice, or a peer has gone astray.
func (t *Tunnel) amiss(dev *wgtypes.Device, now time.Time) bool {
	if t.want == nil {
		return false
	}
	t.lookForAstray(dev, now)
	_, changes := Diff(dev, t.effective(*t.want), t.set)
	return len(changes) > 0
}

// lookForAstray has the wanted endpoint set again on peers that were left where they
// are, as if they had roamed, and of which nothing is heard there: it may have been
// somebody's `wg set`, or a place that the far end has left again.
func (t *Tunnel) lookForAstray(dev *wgtypes.Device, now time.Time) {
	patience := t.opts.Patience
	if patience <= 0 {
		patience = defaultPatience
	}
	was := t.away
	t.away = map[wgtypes.Key]away{}
	for _, p := range dev.Peers {
		wanted, ok := t.set[p.PublicKey]
		if !ok || endpointOf(p) == wanted {
			continue
		}
		w, known := was[p.PublicKey]
		_, way := t.wayMTU(endpointOf(p), t.want.FirewallMark)
		switch {
		case !way: // not even a packet leaves to there
			delete(t.set, p.PublicKey)
		case !known || p.ReceiveBytes != w.rx:
			w = away{since: now, rx: p.ReceiveBytes, tx: p.TransmitBytes}
		case p.TransmitBytes > w.tx && now.Sub(w.since) >= patience:
			delete(t.set, p.PublicKey)
		}
		t.away[p.PublicKey] = w
	}
}
