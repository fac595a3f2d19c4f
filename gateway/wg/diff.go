package wg

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/nameroute/nameroute/gateway/provider"
)

// Want is the desired state of a tunnel's device. It holds secret keys: never print it.
type Want struct {
	PrivateKey   wgtypes.Key
	ListenPort   int    // 0 leaves the port that the device has
	FirewallMark uint32 // carried by the tunnel's own packets
	Addresses    []netip.Prefix
	MTU          int    // bytes; 0 lets Apply choose one that fits the path to the endpoints
	Group        uint32 // of the interface
	Unready      bool   // no peer is added yet, so that nothing comes in; those that there are stay
	Peers        []WantPeer
}

// WantPeer is the desired state of one peer.
type WantPeer struct {
	PublicKey    wgtypes.Key
	PresharedKey wgtypes.Key
	Endpoint     netip.AddrPort // not valid: unknown, the device's is kept
	AllowedIPs   []netip.Prefix
	Keepalive    time.Duration // 0: the file has none; provider.KeepaliveOff: none, on purpose
}

// Desired returns the desired state of the device of a provider's file. endpoints are the
// resolved ones, by the peer's public key.
func Desired(c *provider.Conf, endpoints map[wgtypes.Key]netip.AddrPort, fwmark uint32) Want {
	w := Want{
		PrivateKey: c.PrivateKey, ListenPort: c.ListenPort, FirewallMark: fwmark,
		Addresses: slices.Clone(c.Addresses), MTU: c.MTU,
	}
	for _, p := range c.Peers {
		w.Peers = append(w.Peers, WantPeer{
			PublicKey: p.PublicKey, PresharedKey: p.PresharedKey, AllowedIPs: slices.Clone(p.AllowedIPs),
			Endpoint: endpoints[p.PublicKey], Keepalive: p.Keepalive,
		})
	}
	return w
}

// Diff returns the smallest configuration that brings the current device to the wanted
// state, and its changes in words for the log. It never replaces all peers and touches
// only what differs, so sessions go on.
//
// set holds the endpoints that were set before, by public key. A peer's endpoint is set
// only if the wanted one differs from that, or the device has none: where they are equal
// and the device has another, the peer has roamed and is left there. With nil every
// endpoint that differs is set.
func Diff(current *wgtypes.Device, want Want, set map[wgtypes.Key]netip.AddrPort) (cfg wgtypes.Config, changes []string) {
	if current.FirewallMark != int(want.FirewallMark) {
		mark := int(want.FirewallMark)
		cfg.FirewallMark = &mark
		changes = append(changes, fmt.Sprintf("fwmark %#x", want.FirewallMark))
	}
	if current.PrivateKey != want.PrivateKey {
		key := want.PrivateKey
		cfg.PrivateKey = &key
		changes = append(changes, "private key")
	}
	if want.ListenPort != 0 && current.ListenPort != want.ListenPort {
		port := want.ListenPort
		cfg.ListenPort = &port
		changes = append(changes, fmt.Sprintf("listen port %d", port))
	}
	have := map[wgtypes.Key]wgtypes.Peer{}
	for _, p := range current.Peers {
		have[p.PublicKey] = p
	}
	wanted := map[wgtypes.Key]bool{}
	for _, w := range want.Peers {
		wanted[w.PublicKey] = true
	}
	// Removed peers come first: no prefix may belong to two peers.
	for _, p := range current.Peers {
		if !wanted[p.PublicKey] {
			cfg.Peers = append(cfg.Peers, wgtypes.PeerConfig{PublicKey: p.PublicKey, Remove: true, UpdateOnly: true})
			changes = append(changes, keyName(p.PublicKey)+" removed")
		}
	}
	for _, w := range want.Peers {
		h, known := have[w.PublicKey]
		if !known {
			cfg.Peers = append(cfg.Peers, newPeer(w))
			changes = append(changes, keyName(w.PublicKey)+" added")
			continue
		}
		if neverConnected(h, w) {
			cfg.Peers = append(cfg.Peers, wgtypes.PeerConfig{PublicKey: w.PublicKey, Remove: true, UpdateOnly: true}, newPeer(w))
			changes = append(changes, keyName(w.PublicKey)+" endpoint "+w.Endpoint.String())
			continue
		}
		if pc, words := diffPeer(h, w, set); len(words) > 0 {
			cfg.Peers = append(cfg.Peers, pc)
			changes = append(changes, keyName(w.PublicKey)+" "+strings.Join(words, ", "))
		}
	}
	return cfg, changes
}

// neverConnected reports whether a peer gets its first endpoint and has no session yet.
// Such a peer is recreated: WireGuard counts handshakes that it could not send, too, and
// would wait 5 s before the next one (REKEY_TIMEOUT).
func neverConnected(h wgtypes.Peer, w WantPeer) bool {
	return h.Endpoint == nil && w.Endpoint.IsValid() && h.LastHandshakeTime.IsZero()
}

func newPeer(w WantPeer) wgtypes.PeerConfig {
	pc := wgtypes.PeerConfig{
		PublicKey: w.PublicKey, ReplaceAllowedIPs: true, AllowedIPs: ipNets(w.AllowedIPs),
		PersistentKeepaliveInterval: keepalive(w),
	}
	if w.PresharedKey != (wgtypes.Key{}) {
		psk := w.PresharedKey
		pc.PresharedKey = &psk
	}
	if w.Endpoint.IsValid() {
		pc.Endpoint = net.UDPAddrFromAddrPort(w.Endpoint)
	}
	return pc
}

func diffPeer(h wgtypes.Peer, w WantPeer, set map[wgtypes.Key]netip.AddrPort) (pc wgtypes.PeerConfig, words []string) {
	pc = wgtypes.PeerConfig{PublicKey: w.PublicKey, UpdateOnly: true}
	if h.PresharedKey != w.PresharedKey {
		psk := w.PresharedKey // zero clears it
		pc.PresharedKey = &psk
		words = append(words, "preshared key")
	}
	if endpointDiffers(h, w, set) {
		pc.Endpoint = net.UDPAddrFromAddrPort(w.Endpoint)
		words = append(words, "endpoint "+w.Endpoint.String())
	}
	if k := keepalive(w); h.PersistentKeepaliveInterval != *k {
		pc.PersistentKeepaliveInterval = k
		words = append(words, fmt.Sprintf("keepalive %v", *k))
	}
	add, remove := diffPrefixes(prefixesOf(h.AllowedIPs), w.AllowedIPs)
	switch {
	case len(remove) > 0:
		// Neither kernels before 6.16 nor wgctrl can remove single prefixes.
		pc.ReplaceAllowedIPs, pc.AllowedIPs = true, ipNets(w.AllowedIPs)
	case len(add) > 0:
		pc.AllowedIPs = ipNets(add)
	}
	words = append(words, formatDiff("allowed ips", add, remove)...)
	return pc, words
}

func endpointDiffers(h wgtypes.Peer, w WantPeer, set map[wgtypes.Key]netip.AddrPort) bool {
	current := endpointOf(h)
	if !w.Endpoint.IsValid() || w.Endpoint == current {
		return false
	}
	return !current.IsValid() || set[w.PublicKey] != w.Endpoint
}

// keepalive returns the interval in the device's terms, where 0 is none.
func keepalive(w WantPeer) *time.Duration {
	k := max(w.Keepalive, 0)
	return &k
}

func endpointOf(p wgtypes.Peer) netip.AddrPort {
	if p.Endpoint == nil {
		return netip.AddrPort{}
	}
	a := p.Endpoint.AddrPort()
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

// diffPrefixes returns what to add to have, and what to remove from it, to get want; in
// the order of want and have.
func diffPrefixes(have, want []netip.Prefix) (add, remove []netip.Prefix) {
	in := func(list []netip.Prefix) map[netip.Prefix]bool {
		m := make(map[netip.Prefix]bool, len(list))
		for _, p := range list {
			m[p] = true
		}
		return m
	}
	inHave, inWant := in(have), in(want)
	for _, p := range want {
		if !inHave[p] {
			add = append(add, p)
		}
	}
	for _, p := range have {
		if !inWant[p] {
			remove = append(remove, p)
		}
	}
	return add, remove
}

// maxListed is how many prefixes a log line names.
const maxListed = 8

// formatDiff prints a difference of prefixes: "allowed ips +10.0.0.0/8 -10.1.0.0/16".
func formatDiff(what string, add, remove []netip.Prefix) []string {
	if len(add)+len(remove) == 0 {
		return nil
	}
	words := []string{what}
	for _, p := range add {
		words = append(words, "+"+p.String())
	}
	for _, p := range remove {
		words = append(words, "-"+p.String())
	}
	if n := len(words) - 1 - maxListed; n > 0 {
		words = append(words[:1+maxListed], fmt.Sprintf("and %d more", n))
	}
	return []string{strings.Join(words, " ")}
}

func prefixesOf(nets []net.IPNet) []netip.Prefix {
	out := make([]netip.Prefix, 0, len(nets))
	for _, n := range nets {
		a, ok := netip.AddrFromSlice(n.IP)
		ones, bits := n.Mask.Size()
		if a = a.Unmap(); ok && bits == a.BitLen() {
			out = append(out, netip.PrefixFrom(a, ones))
		}
	}
	return out
}

func ipNets(prefixes []netip.Prefix) []net.IPNet {
	out := make([]net.IPNet, len(prefixes))
	for i, p := range prefixes {
		out[i] = net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
	}
	return out
}

// keyName returns a short form of a public key that identifies a peer in the log.
func keyName(k wgtypes.Key) string { return "peer " + k.String()[:8] }
