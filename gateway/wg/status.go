package wg

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"golang.zx2c4.com/wireguard/wgctrl"
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
	s = statusOf(t.kind, link, dev)
	s.Drifted = t.drifted(dev, time.Now())
	return s, nil
}

// LastHandshake returns the time of the latest one of any peer; zero: never.
func (s Status) LastHandshake() time.Time {
	var last time.Time
	for _, p := range s.Peers {
		if p.LastHandshake.After(last) {
			last = p.LastHandshake
		}
	}
	return last
}

// Read reads a tunnel of ours that another process may have open. It changes nothing.
func Read(name string) (Status, error) {
	link, err := find(netlink.LinkByName, name)
	switch {
	case err != nil:
		return Status{}, err
	case link == nil:
		return Status{}, fmt.Errorf("interface %s does not exist", name)
	case !ours(link):
		return Status{}, foreignError(link)
	}
	kind, _ := kindOf(link)
	c, err := wgctrl.New()
	if err != nil {
		return Status{}, fmt.Errorf("open wireguard control: %w", err)
	}
	defer c.Close()
	dev, err := c.Device(name)
	if err != nil {
		return Status{}, fmt.Errorf("read wireguard device %s: %w", name, err)
	}
	return statusOf(kind, link, dev), nil
}

func statusOf(kind Kind, link netlink.Link, dev *wgtypes.Device) Status {
	s := Status{Kind: kind, LinkUp: linkUp(link), FirewallMark: uint32(dev.FirewallMark)}
	for _, p := range dev.Peers {
		s.Peers = append(s.Peers, PeerStatus{
			PublicKey: p.PublicKey, Endpoint: endpointOf(p), LastHandshake: p.LastHandshakeTime,
			RX: p.ReceiveBytes, TX: p.TransmitBytes,
		})
	}
	return s
}
