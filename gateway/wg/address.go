package wg

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/nameroute/nameroute/gateway/pkg/nlretry"
)

// applyAddresses gives the interface these addresses and no others. New ones are added
// before old ones are removed, so a flow whose address stays is not disturbed.
func (t *Tunnel) applyAddresses(link netlink.Link, want []netip.Prefix) ([]string, error) {
	have, err := t.addresses(link)
	if err != nil {
		return nil, err
	}
	add, remove := diffPrefixes(have, want)
	if len(add)+len(remove) == 0 {
		return nil, nil
	}
	for _, p := range add {
		// An IPv6 address that exists with another length cannot be added yet. What is
		// missing in the end is added, or reported, below.
		_ = t.nl.AddrAdd(link, addrOf(p))
	}
	var errs []error
	for _, p := range remove {
		err := t.nl.AddrDel(link, addrOf(p))
		// A secondary IPv4 address is removed with its primary.
		if err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
			errs = append(errs, fmt.Errorf("interface %s: remove address %s: %w", t.name, p, err))
		}
	}
	errs = append(errs, t.addMissing(link, want))
	now, err := t.addresses(link)
	added, removed := diffPrefixes(have, now)
	return formatDiff("addresses", added, removed), errors.Join(append(errs, err)...)
}

// addMissing adds what the first round could not, and what was removed together with
// another address.
func (t *Tunnel) addMissing(link netlink.Link, want []netip.Prefix) error {
	have, err := t.addresses(link)
	if err != nil {
		return err
	}
	var errs []error
	missing, _ := diffPrefixes(have, want)
	for _, p := range missing {
		err := t.nl.AddrAdd(link, addrOf(p))
		switch {
		case err == nil || errors.Is(err, unix.EEXIST):
		case p.Addr().Is6() && (errors.Is(err, unix.EACCES) || errors.Is(err, unix.EAFNOSUPPORT)):
			errs = append(errs, fmt.Errorf("interface %s: add address %s: IPv6 is disabled (%w): set net.ipv6.conf.%s.disable_ipv6=0, "+
				"or remove the IPv6 addresses from the provider's file", t.name, p, err, t.name))
		default:
			errs = append(errs, fmt.Errorf("interface %s: add address %s: %w", t.name, p, err))
		}
	}
	return errors.Join(errs...)
}

func (t *Tunnel) addresses(link netlink.Link) ([]netip.Prefix, error) {
	list, err := nlretry.Dump(func() ([]netlink.Addr, error) { return t.nl.AddrList(link, netlink.FAMILY_ALL) })
	if err != nil {
		return nil, fmt.Errorf("interface %s: list addresses: %w", t.name, err)
	}
	out := make([]netip.Prefix, 0, len(list))
	for _, a := range list {
		out = append(out, prefixesOf([]net.IPNet{*a.IPNet})...)
	}
	return out, nil
}

// addrOf returns the address in netlink's form. The kernel makes no kernel route to its
// network: where that is the LAN's or the uplink's, too, the one that came up first would
// have it. A tunnel has no neighbors to detect duplicates on (RFC 4862 section 5.4), and a
// tentative address would delay the first packet.
func addrOf(p netip.Prefix) *netlink.Addr {
	a := &netlink.Addr{IPNet: &ipNets([]netip.Prefix{p})[0], Flags: unix.IFA_F_NOPREFIXROUTE}
	if p.Addr().Is6() {
		a.Flags |= unix.IFA_F_NODAD
	}
	return a
}
