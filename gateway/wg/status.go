package wg

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// Status is what a tunnel looks like at one moment.
type Status struct {
	LinkUp  bool // false too where the link is gone
	Kind    Kind
	Peers   []PeerStatus
	Drifted bool // the device differs from what was applied last, or a roamed peer is silent

	FirewallMark uint32
}

// PeerStatus is one peer's counters.
type PeerStatus struct {
	PublicKey     wgtypes.Key
	Endpoint      netip.AddrPort // not valid: none known
	LastHandshake time.Time      // wall clock; zero: never
	RX, TX        int64          // bytes, handshakes and keepalives included
}

// Status reads the tunnel. A missing link is reported as down, not as an error.
func (t *Tunnel) Status() (Status, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := Status{Kind: t.kind}
	link, err := t.link()
	if errors.Is(err, ErrGone) {
		return s, nil
	}
	if err != nil {
		return s, err
	}
	dev, err := t.wg.Device(t.name)
	if err != nil {
		return s, fmt.Errorf("read wireguard device %s: %w", t.name, err)
	}
	s.LinkUp = linkUp(link)
	s.FirewallMark = uint32(dev.FirewallMark)
	s.Drifted = t.drifted(dev, time.Now())
	for _, p := range dev.Peers {
		s.Peers = append(s.Peers, PeerStatus{
			PublicKey: p.PublicKey, Endpoint: endpointOf(p), LastHandshake: p.LastHandshakeTime,
			RX: p.ReceiveBytes, TX: p.TransmitBytes,
		})
	}
	return s, nil
}
