//go:build linux

package netlab

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/nameroute/nameroute/test/netlab/wire"
)

// Cable joins two namespaces by a veth pair, whose ends it names and sets up. A
// neighbour that did not answer, as the cable was unplugged, is asked again soon; it has
// 3 s, as it would have by default, because on a busy machine it may take that long.
func Cable(a *Namespace, linkA string, b *Namespace, linkB string) {
	a.t.Helper()
	veth := &netlink.Veth{
		LinkAttrs:     netlink.LinkAttrs{Name: linkA, Flags: net.FlagUp},
		PeerName:      linkB,
		PeerNamespace: netlink.NsFd(b.net.Fd()),
	}
	var err error
	a.on(func() { err = netlink.LinkAdd(veth) })
	if err != nil {
		a.t.Fatalf("netlab: cable %s/%s to %s/%s: %v", a.Name, linkA, b.Name, linkB, err)
	}
	for n, link := range map[*Namespace]string{a: linkA, b: linkB} {
		for _, neigh := range []string{"net/ipv4/neigh/" + link, "net/ipv6/neigh/" + link} {
			n.Sysctl(neigh+"/retrans_time_ms=50", neigh+"/mcast_solicit=60", neigh+"/ucast_solicit=60")
		}
		n.Up(link)
	}
}

// NewTap begins to record a link of the namespace.
func NewTap(n *Namespace, link string) *wire.Tap {
	n.t.Helper()
	return wire.NewTap(n.t, n.Name, n.on, link)
}

// IP runs lines of ip(8) commands, without the word ip, in one ip process:
// "addr add 192.0.2.1/24 dev eth0". If one fails the test ends.
func (n *Namespace) IP(lines ...string) {
	n.t.Helper()
	if _, err := n.ExecInput(strings.Join(lines, "\n")+"\n", "ip", "-batch", "-"); err != nil {
		n.t.Fatalf("netlab: %v\n%s", err, strings.Join(lines, "\n"))
	}
}

// NFT loads nft(8) text in the namespace; if it is refused the test ends.
func (n *Namespace) NFT(text string) {
	n.t.Helper()
	if _, err := n.ExecInput(text, "nft", "-f", "-"); err != nil {
		n.t.Fatalf("netlab: %v\n%s", err, text)
	}
}

// Sysctl sets values: "net/ipv4/ip_forward=1". The separator is a slash, because
// link names may have dots.
func (n *Namespace) Sysctl(settings ...string) {
	n.t.Helper()
	var err error
	n.on(func() {
		for _, s := range settings {
			key, value, _ := strings.Cut(s, "=")
			err = errors.Join(err, os.WriteFile(filepath.Join("/proc/sys", key), []byte(value), 0o644))
		}
	})
	if err != nil {
		n.t.Fatalf("netlab: %s: sysctl: %v", n.Name, err)
	}
}

// Up sets a link up.
func (n *Namespace) Up(link string) { n.t.Helper(); n.link(link, "up", netlink.LinkSetUp) }

// Down sets a link down: the kernel takes its kernel routes and, unless
// keep_addr_on_down is set, its IPv6 addresses away. Up brings neither back.
func (n *Namespace) Down(link string) { n.t.Helper(); n.link(link, "down", netlink.LinkSetDown) }

// Delete deletes a link.
func (n *Namespace) Delete(link string) { n.t.Helper(); n.link(link, "delete", netlink.LinkDel) }

// Flap sets a link down, and up again after d.
func (n *Namespace) Flap(link string, d time.Duration) {
	n.t.Helper()
	n.Down(link)
	time.Sleep(d)
	n.Up(link)
}

func (n *Namespace) link(name, verb string, act func(netlink.Link) error) {
	n.t.Helper()
	var err error
	n.on(func() {
		var link netlink.Link
		if link, err = netlink.LinkByName(name); err == nil {
			err = act(link)
		}
	})
	if err != nil {
		n.t.Fatalf("netlab: %s: link %s %s: %v", n.Name, verb, name, err)
	}
}

// awaitState waits until a link has an operational state.
func (n *Namespace) awaitState(name string, want netlink.LinkOperState) {
	n.t.Helper()
	Eventually(n.t, 5*time.Second, func() error {
		var state netlink.LinkOperState
		n.link(name, "watch", func(l netlink.Link) error { state = l.Attrs().OperState; return nil })
		return Check(state == want, "netlab: %s: link %s is %v, want %v", n.Name, name, state, want)
	})
}
