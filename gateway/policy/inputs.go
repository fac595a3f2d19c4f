package policy

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/pkg/nlretry"
)

// Snapshot is what Read found in the kernel at one moment.
type Snapshot struct {
	Inputs Inputs // what the desired state depends on
	State  State  // our policy rules and kernel routes
}

// Read returns what the desired state depends on and what the kernel has of it.
func (k *Kernel) Read(cfg *gateway.Config) (Snapshot, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	links, err := k.links()
	if err != nil {
		return Snapshot{}, err
	}
	in := Inputs{Links: links, NextHops: map[netip.Addr]string{}, KernelFamilies: k.families}
	if err := k.readMain(cfg, &in); err != nil {
		return Snapshot{}, err
	}
	names := namesOf(links)
	for _, r := range append(cfg.Members(cfg.WANRoute()), cfg.Routes...) {
		for _, hop := range r.Egress.NextHops {
			name, err := k.linkTo(hop, r.Egress.Link, names)
			if err != nil {
				return Snapshot{}, err
			}
			if name != "" {
				in.NextHops[hop] = name
			}
		}
	}
	state, err := k.state(names)
	return Snapshot{Inputs: in, State: state}, err
}

func (k *reader) links() ([]Link, error) {
	dump, err := nlretry.Dump(k.h.LinkList)
	if err != nil {
		return nil, fmt.Errorf("ip link: %w", err)
	}
	addrs, err := nlretry.Dump(func() ([]netlink.Addr, error) { return k.h.AddrList(nil, netlink.FAMILY_ALL) })
	if err != nil {
		return nil, fmt.Errorf("ip address: %w", err)
	}
	links := make([]Link, 0, len(dump))
	for _, l := range dump {
		a := l.Attrs()
		link := Link{
			Name: a.Name, Index: a.Index, Up: a.RawFlags&unix.IFF_UP != 0,
			Running: a.RawFlags&unix.IFF_LOWER_UP != 0,
			Direct:  a.RawFlags&(unix.IFF_POINTOPOINT|unix.IFF_NOARP) != 0,
		}
		for _, addr := range addrs {
			if ip, ok := netip.AddrFromSlice(addr.IP); ok && addr.LinkIndex == a.Index {
				ip = ip.Unmap()
				link.Addrs = append(link.Addrs, ip)
				link.V4 = link.V4 || ip.Is4() // 169.254/16 too: some tunnels have nothing else
				link.V6 = link.V6 || ip.Is6() && !ip.IsLinkLocalUnicast()
				link.networks = append(link.networks, networksOf(addr)...)
			}
		}
		links = append(links, link)
	}
	return links, nil
}

// linkTo returns the interface on which an unmarked packet reaches a host without a
// gateway; "" if it does not, or not on the wanted interface ("" is any).
func (k *reader) linkTo(hop netip.Addr, want string, names map[int]string) (string, error) {
	if hop.Is6() && hop.IsLinkLocalUnicast() {
		for _, name := range names {
			if name == want { // every link may have a host of this address
				return want, nil
			}
		}
		return "", nil
	}
	// Without FIBMatch, IPv4 takes any host for on-link once an interface is given.
	options := &netlink.RouteGetOptions{Oif: want, FIBMatch: true}
	if want != "" {
		if _, err := k.h.LinkByName(want); errors.As(err, &netlink.LinkNotFoundError{}) {
			return "", nil
		} else if err != nil {
			return "", fmt.Errorf("ip link show %s: %w", want, err)
		}
	}
	routes, err := k.h.RouteGetWithOptions(hop.AsSlice(), options)
	if errors.Is(err, unix.ENETUNREACH) || errors.Is(err, unix.EHOSTUNREACH) || errors.As(err, &netlink.LinkNotFoundError{}) ||
		errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EACCES) || errors.Is(err, unix.ENODEV) { // unreachable, blackhole, prohibit
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("ip route get %s: %w", hop, err)
	}
	for _, r := range routes {
		if r.Type == unix.RTN_UNICAST && r.Gw == nil && r.Via == nil {
			return names[r.LinkIndex], nil
		}
	}
	return "", nil
}
