package wg

import (
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// defaultPatience is KEEPALIVE_TIMEOUT and REKEY_TIMEOUT together (whitepaper section
// 6.1): a peer that is there is heard within that time of anything that is sent to it.
const defaultPatience = 15 * time.Second

// roamer is a peer that is at another endpoint than the wanted one.
type roamer struct {
	since  time.Time // when it was first seen there, or last heard
	rx, tx int64     // as they were then
}

// drifted reports whether the next Apply has something to repair: another program has
// changed the device, which the kernel does not announce, or a roamed peer is silent.
func (t *Tunnel) drifted(dev *wgtypes.Device, now time.Time) bool {
	if t.want == nil {
		return false
	}
	t.resetSilentRoamers(dev, now)
	_, changes := Diff(dev, t.effective(*t.want), t.set)
	return len(changes) > 0
}

// resetSilentRoamers has the wanted endpoint set again on peers that were left at another
// one, as if they had roamed, and are not heard there: a `wg set` may have put them there,
// or they have left it again.
func (t *Tunnel) resetSilentRoamers(dev *wgtypes.Device, now time.Time) {
	patience := t.opts.Patience
	if patience <= 0 {
		patience = defaultPatience
	}
	before := t.roamers
	t.roamers = map[wgtypes.Key]roamer{}
	for _, p := range dev.Peers {
		wanted, ok := t.set[p.PublicKey]
		if !ok || endpointOf(p) == wanted {
			continue
		}
		r, known := before[p.PublicKey]
		_, routed := t.pathMTU(endpointOf(p), t.want.FirewallMark)
		switch {
		case !routed: // no packet leaves for there
			delete(t.set, p.PublicKey)
		case !known || p.ReceiveBytes != r.rx:
			r = roamer{since: now, rx: p.ReceiveBytes, tx: p.TransmitBytes}
		case p.TransmitBytes > r.tx && now.Sub(r.since) >= patience:
			delete(t.set, p.PublicKey)
		}
		t.roamers[p.PublicKey] = r
	}
}
