package sidecar

import (
	"net/netip"
	"slices"
	"time"

	"github.com/nameroute/nameroute/gateway/pkg/prefixes"
	"github.com/nameroute/nameroute/gateway/provider"
	"github.com/nameroute/nameroute/gateway/wg"
)

// PeerStatus is one of several peers of a tunnel.
type PeerStatus struct {
	Key        string         `json:"key"` // the public one
	State      wg.State       `json:"state"`
	Endpoint   netip.AddrPort `json:"endpoint,omitzero"`
	Handshake  time.Time      `json:"handshake,omitzero"` // zero: never
	AllowedIPs []netip.Prefix `json:"allowed_ips,omitempty"`
}

// silentPeers returns the peers of a mesh that what was sent to went unanswered, in the order
// of the file.
func (t *tunnel) silentPeers() []string {
	var keys []string
	if t.conf == nil {
		return nil
	}
	for _, p := range t.conf.Peers {
		if t.peers[p.PublicKey] == wg.Down {
			keys = append(keys, p.PublicKey.String())
		}
	}
	return keys
}

// silentPrefixes returns what only silent peers take: WireGuard gives a packet to the peer of
// the longest prefix.
func (t *tunnel) silentPrefixes() []netip.Prefix {
	silent := t.silentPeers()
	if !t.route.AllowedIPs || len(silent) == 0 || t.seen.State == wg.Down {
		return nil
	}
	isSilent := func(p provider.Peer) bool { return slices.Contains(silent, p.PublicKey.String()) }
	var out []netip.Prefix
	for _, p := range t.conf.Peers {
		if !isSilent(p) {
			continue
		}
		for _, prefix := range p.AllowedIPs {
			var others []netip.Prefix // longer ones, of peers that answer
			for _, o := range t.conf.Peers {
				for _, longer := range o.AllowedIPs {
					if !isSilent(o) && longer.Bits() > prefix.Bits() && prefix.Contains(longer.Addr()) {
						others = append(others, longer)
					}
				}
			}
			out = append(out, prefixes.Without([]netip.Prefix{prefix}, others)...)
		}
	}
	return prefixes.Without(out, nil)
}

// peerStatus describes the peers of a tunnel that has several.
func (t *tunnel) peerStatus() []PeerStatus {
	if len(t.peers) == 0 || t.conf == nil {
		return nil
	}
	var out []PeerStatus
	for _, p := range t.conf.Peers {
		i := slices.IndexFunc(t.status.Peers, func(s wg.PeerStatus) bool { return s.PublicKey == p.PublicKey })
		if i < 0 {
			continue
		}
		s := t.status.Peers[i]
		out = append(out, PeerStatus{Key: p.PublicKey.String(), State: t.peers[p.PublicKey], Endpoint: s.Endpoint, Handshake: s.LastHandshake, AllowedIPs: p.AllowedIPs})
	}
	return out
}

// logPeers logs which peers of a mesh have become silent, or are back.
func (t *tunnel) logPeers(before, after []string) {
	for _, p := range t.conf.Peers {
		key := p.PublicKey.String()
		was, is := slices.Contains(before, key), slices.Contains(after, key)
		switch {
		case is && !was:
			t.r.log.Warn("peer of the tunnel is silent", "route", t.route.Name, "peer", key[:8], "allowed_ips", p.AllowedIPs)
		case was && !is:
			t.r.log.Info("peer of the tunnel answers again", "route", t.route.Name, "peer", key[:8])
		}
	}
}
