package wg

import (
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// embeddedKeepalive is the keepalive of an embedded tunnel where the file has none. After
// a crash the peer does not know the next process until that sends something: a download
// alone sent nothing for 27 s, with a keepalive it goes on within 0.3 s.
const embeddedKeepalive = 25 * time.Second

// tryInterval is the keepalive while the route is down. WireGuard never sends handshakes
// more often than every 5 s (REKEY_TIMEOUT, whitepaper section 6.1), and by itself gives up
// after 90 s (REKEY_ATTEMPT_TIME). With this keepalive it goes on, and a peer that is back
// is found within 5 s.
const tryInterval = 5 * time.Second

// overhead is what WireGuard adds to a packet over IPv6, in bytes: 40 IPv6, 8 UDP,
// 32 WireGuard. Over IPv4 it is 20 less.
const overhead = 80

// minMTUv6 is the smallest MTU on which a link carries IPv6 (RFC 8200 section 5);
// below it the kernel removes IPv6 from the link.
const minMTUv6 = 1280

// Apply brings the interface to the wanted state and returns what it changed, in words for
// the log; a second Apply changes nothing. Sessions are never dropped. The firewall mark is
// set before anything else: without it the tunnel's own packets are routed into it.
//
// With an error it returns the changes that were made before. An address that the kernel
// refuses does not keep the others from being set, nor the link from coming up.
func (t *Tunnel) Apply(want Want) (changes []string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	link, err := t.link()
	if err != nil {
		return nil, err
	}
	if link.Attrs().Alias != t.opts.Alias {
		if err := t.nl.LinkSetAlias(link, t.opts.Alias); err != nil {
			return nil, fmt.Errorf("interface %s: set alias: %w", t.name, err)
		}
		changes = append(changes, "alias "+t.opts.Alias)
	}
	words, err := t.applyDevice(want)
	changes = append(changes, words...)
	if err != nil {
		return changes, err
	}
	words, err = t.applyLink(link, want)
	return append(changes, words...), err
}

func (t *Tunnel) applyDevice(want Want) ([]string, error) {
	dev, err := t.wg.Device(t.name)
	if err != nil {
		return nil, fmt.Errorf("read wireguard device %s: %w", t.name, err)
	}
	if want.Unready {
		want.Peers = slices.DeleteFunc(slices.Clone(want.Peers), func(w WantPeer) bool {
			return !slices.ContainsFunc(dev.Peers, func(p wgtypes.Peer) bool { return p.PublicKey == w.PublicKey })
		})
	}
	effective := t.effective(want)
	cfg, changes := Diff(dev, effective, t.set)
	if cfg.FirewallMark != nil {
		mark := wgtypes.Config{FirewallMark: cfg.FirewallMark}
		if err := t.configure(mark); err != nil {
			return nil, err
		}
		cfg.FirewallMark = nil
	}
	if t.recreatePeers {
		if err := t.recreateWithEndpoint(&cfg, effective); err != nil {
			return nil, err
		}
	}
	if len(changes) > 0 {
		if err := t.configure(cfg); err != nil {
			return nil, err
		}
	}
	t.want, t.set, t.recreatePeers = &want, map[wgtypes.Key]netip.AddrPort{}, false
	for _, p := range want.Peers {
		if p.Endpoint.IsValid() {
			t.set[p.PublicKey] = p.Endpoint
		}
	}
	return changes, nil
}

func (t *Tunnel) configure(cfg wgtypes.Config) error {
	if err := t.wg.ConfigureDevice(t.name, cfg); err != nil {
		return fmt.Errorf("configure wireguard device %s: %w", t.name, err)
	}
	return nil
}

// effective returns the wanted state with the keepalives that apply now.
func (t *Tunnel) effective(want Want) Want {
	want.Peers = slices.Clone(want.Peers)
	for i := range want.Peers {
		want.Peers[i].Keepalive = t.keepalive(want.Peers[i])
	}
	return want
}

func (t *Tunnel) keepalive(p WantPeer) time.Duration {
	switch {
	case t.trying:
		return tryInterval
	case p.Keepalive == 0 && t.kind == Userspace:
		return embeddedKeepalive
	}
	return p.Keepalive
}

// KeepTrying makes the tunnel send handshakes at once and then every 5 s without end, so
// that a route that is down comes back by itself; off restores the keepalives of the file.
// Apply does not change it.
func (t *Tunnel) KeepTrying(on bool) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.trying == on {
		return nil
	}
	if _, err := t.link(); err != nil {
		return err
	}
	t.trying = on
	if t.want == nil {
		return nil
	}
	var cfg wgtypes.Config
	off := time.Duration(0)
	for _, p := range t.want.Peers {
		if on {
			// WireGuard sends at once only where there was no keepalive before.
			cfg.Peers = append(cfg.Peers, wgtypes.PeerConfig{
				PublicKey: p.PublicKey, UpdateOnly: true, PersistentKeepaliveInterval: &off})
		}
		interval := max(t.keepalive(p), 0)
		cfg.Peers = append(cfg.Peers, wgtypes.PeerConfig{
			PublicKey: p.PublicKey, UpdateOnly: true, PersistentKeepaliveInterval: &interval})
	}
	if err := t.configure(cfg); err != nil {
		t.trying = !on
		return err
	}
	return nil
}

// ResetEndpoints makes the next Apply set every endpoint as wanted, also where the peer
// has roamed, for a tunnel whose peers are silent. A peer that gets another one is
// recreated: its session has ended, and WireGuard would wait up to 5 s before it tries
// again (REKEY_TIMEOUT).
func (t *Tunnel) ResetEndpoints() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.set, t.recreatePeers = nil, true
}

// recreateWithEndpoint removes the peers that get another endpoint, and has cfg add them again.
func (t *Tunnel) recreateWithEndpoint(cfg *wgtypes.Config, want Want) error {
	var gone []wgtypes.PeerConfig
	v6 := false
	for i, pc := range cfg.Peers {
		w := slices.IndexFunc(want.Peers, func(w WantPeer) bool { return w.PublicKey == pc.PublicKey })
		if pc.Endpoint == nil || !pc.UpdateOnly || w < 0 {
			continue
		}
		gone = append(gone, wgtypes.PeerConfig{PublicKey: pc.PublicKey, Remove: true, UpdateOnly: true})
		cfg.Peers[i] = newPeer(want.Peers[w])
		v6 = v6 || want.Peers[w].Endpoint.Addr().Is6()
	}
	if len(gone) == 0 {
		return nil
	}
	if err := t.configure(wgtypes.Config{Peers: gone}); err != nil {
		return err
	}
	if v6 && t.embedded != nil {
		dropPooledAddresses()
	}
	return nil
}

// dropPooledAddresses works around a defect of wireguard-go: after packets over IPv4 the
// first ones over IPv6 are sent to a wrong address, once for each address object in a pool
// (github.com/WireGuard/wireguard-go/pull/135). Each lost handshake costs 5 s. A sync.Pool
// is empty after two collections.
func dropPooledAddresses() {
	runtime.GC()
	runtime.GC()
}

func (t *Tunnel) applyLink(link netlink.Link, want Want) (changes []string, err error) {
	if link.Attrs().Group != want.Group {
		if err := t.nl.LinkSetGroup(link, int(want.Group)); err != nil {
			return nil, fmt.Errorf("interface %s: set group %d: %w", t.name, want.Group, err)
		}
		changes = append(changes, fmt.Sprintf("group %d", want.Group))
	}
	mtu := t.mtu(want)
	if link.Attrs().MTU != mtu {
		if err := t.nl.LinkSetMTU(link, mtu); err != nil {
			return changes, fmt.Errorf("interface %s: set MTU %d: %w", t.name, mtu, err)
		}
		changes = append(changes, fmt.Sprintf("mtu %d", mtu))
	}
	addrs := want.Addresses
	if mtu < minMTUv6 {
		addrs = slices.DeleteFunc(slices.Clone(addrs), func(p netip.Prefix) bool { return p.Addr().Is6() })
	}
	words, addrErr := t.applyAddresses(link, addrs)
	changes = append(changes, words...)
	if link.Attrs().RawFlags&unix.IFF_UP == 0 {
		if err := t.nl.LinkSetUp(link); err != nil {
			return changes, errors.Join(addrErr, fmt.Errorf("interface %s: set up: %w", t.name, err))
		}
		changes = append(changes, "up")
	}
	return changes, addrErr
}

// mtu returns the interface's MTU: the user's, the file's, or what fits the path to the
// endpoints, as wg-quick does; at most WireGuard's usual 1420, because an interface with
// jumbo frames says nothing about the path behind it.
func (t *Tunnel) mtu(want Want) int {
	switch {
	case t.opts.MTU > 0:
		return t.opts.MTU
	case want.MTU > 0:
		return want.MTU
	}
	mtu := device.DefaultMTU
	for _, p := range want.Peers {
		if path, ok := t.pathMTU(p.Endpoint, want.FirewallMark); ok {
			mtu = min(mtu, path-overhead)
		}
	}
	return max(mtu, minMTUv6)
}

// pathMTU returns the MTU of the kernel route to an endpoint; ok is false where there is
// none yet, or it is the tunnel itself.
func (t *Tunnel) pathMTU(endpoint netip.AddrPort, mark uint32) (mtu int, ok bool) {
	if !endpoint.IsValid() {
		return 0, false
	}
	routes, err := t.nl.RouteGetWithOptions(endpoint.Addr().AsSlice(), &netlink.RouteGetOptions{Mark: mark})
	if err != nil || len(routes) == 0 || routes[0].LinkIndex == t.index {
		return 0, false
	}
	if routes[0].MTU > 0 {
		return routes[0].MTU, true
	}
	link, err := t.nl.LinkByIndex(routes[0].LinkIndex)
	if err != nil {
		return 0, false
	}
	return link.Attrs().MTU, true
}
