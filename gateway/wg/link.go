package wg

import (
	"errors"
	"fmt"
	"hash/crc32"
	"net"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/nameroute/nameroute/gateway/pkg/nlretry"
)

// aliasPrefix starts the alias (IFLA_IFALIAS, `ip link` shows it) of every
// interface that is ours. The alias outlives the process.
const aliasPrefix = "nameroute: "

// Alias returns the alias of a route's tunnel.
func Alias(route string) string { return aliasPrefix + "route " + route }

// ErrForeign is returned where an interface has a tunnel's name and was not made by
// nameroute. Such an interface is never adopted or removed.
var ErrForeign = errors.New("not made by nameroute")

// Kind is the implementation that runs a tunnel.
type Kind string

// Kernel is the kernel's WireGuard; Userspace the embedded one on a persistent TUN.
const (
	Kernel    Kind = "kernel"
	Userspace Kind = "userspace"
)

// Link is an existing interface of ours.
type Link struct {
	Name  string
	Alias string
	Kind  Kind
}

// Links returns nameroute's tunnels in this network namespace, whether or not a process
// has them open.
func Links() ([]Link, error) {
	links, err := nlretry.Dump(netlink.LinkList)
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	var out []Link
	for _, l := range links {
		if kind, ok := kindOf(l); ok && ours(l) {
			out = append(out, Link{l.Attrs().Name, l.Attrs().Alias, kind})
		}
	}
	return out, nil
}

// Remove deletes a tunnel that this process does not have open. A missing interface is no
// error; one that is not ours is ErrForeign. Another process that has the tunnel open
// sees its device end. It also deletes the control socket that a killed process left.
func Remove(name string) error {
	link, err := find(netlink.LinkByName, name)
	if err != nil || link == nil {
		return err
	}
	kind, ok := kindOf(link)
	if !ok || !ours(link) {
		return foreignError(link)
	}
	if err := netlink.LinkDel(link); err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("delete interface %s: %w", name, err)
	}
	if kind == Userspace {
		return removeUAPI(name)
	}
	return nil
}

func ours(l netlink.Link) bool { return strings.HasPrefix(l.Attrs().Alias, aliasPrefix) }

func kindOf(l netlink.Link) (Kind, bool) {
	switch l := l.(type) {
	case *netlink.Wireguard:
		return Kernel, true
	case *netlink.Tuntap:
		return Userspace, l.Mode == unix.IFF_TUN
	}
	return "", false
}

// foreignError says what is in the tunnel's place, and how to resolve that.
func foreignError(l netlink.Link) error {
	name := l.Attrs().Name
	what, remedy := l.Type(), "ip link del "+name
	switch kind, ok := kindOf(l); {
	case ok && kind == Kernel:
		remedy = "wg-quick down " + name
	case ok:
		what, remedy = "tun", "end the program that made it, or ip link del "+name
	}
	return fmt.Errorf("interface %s: %w: %s interface of another program: remove it (%s), "+
		"or set another link: for the route", name, ErrForeign, what, remedy)
}

// find returns an interface by name or index; nil where there is none.
func find[K any](by func(K) (netlink.Link, error), key K) (netlink.Link, error) {
	link, err := by(key)
	if errors.As(err, new(netlink.LinkNotFoundError)) || errors.Is(err, unix.ENODEV) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look up interface %v: %w", key, err)
	}
	return link, nil
}

// linkUp reports whether packets can enter: the link is up, and a TUN, which has no carrier
// otherwise, is open in a process.
func linkUp(l netlink.Link) bool {
	a := l.Attrs()
	return a.Flags&net.FlagUp != 0 && a.RawFlags&unix.IFF_LOWER_UP != 0
}

// createLink creates an interface that is ours from the moment it has its name. The kernel
// accepts no alias at creation, so the link gets it under a temporary name: a crash in
// between leaves nothing that the next start would refuse.
func createLink(h *netlink.Handle, name, alias string, of func(netlink.LinkAttrs) netlink.Link) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = fmt.Sprintf("nrnew-%08x", crc32.ChecksumIEEE([]byte(name)))
	link := of(attrs)
	err := h.LinkAdd(link)
	if errors.Is(err, unix.EEXIST) { // left by such a crash
		if err = h.LinkDel(link); err == nil {
			err = h.LinkAdd(link)
		}
	}
	if err != nil {
		return fmt.Errorf("create %s interface %s: %w", link.Type(), name, err)
	}
	if err = h.LinkSetAlias(link, alias); err == nil {
		err = h.LinkSetName(link, name)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("name interface %s: %w", name, err), h.LinkDel(link))
	}
	return nil
}

// disableIPv6Autoconf keeps the kernel from giving the link a link-local address and from
// soliciting routers through the tunnel, which would count as unanswered packets. The
// kernel's WireGuard does so by itself.
func disableIPv6Autoconf(h *netlink.Handle, link netlink.Link) error {
	const none = 1 // IN6_ADDR_GEN_MODE_NONE
	err := h.LinkSetIP6AddrGenMode(link, none)
	if err == nil || errors.Is(err, unix.EAFNOSUPPORT) { // a kernel without IPv6
		return nil
	}
	return fmt.Errorf("interface %s: disable automatic IPv6 addresses: %w", link.Attrs().Name, err)
}
