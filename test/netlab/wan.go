//go:build linux

package netlab

import (
	"time"

	"github.com/vishvananda/netlink"
)

// connectWAN gives wan0 its addresses and default routes, as a DHCP client does
// when the link comes up.
func (l *Lab) connectWAN() {
	l.Box.IP("addr replace 31.0.1.2/24 dev wan0", "addr replace 2a0e:1::2/64 dev wan0 nodad",
		"route replace default via 31.0.1.1 dev wan0", "route replace ::/0 via 2a0e:1::1 dev wan0")
}

// WANDown sets wan0 down in the box: its kernel routes and IPv6 addresses go.
func (l *Lab) WANDown() { l.t.Helper(); l.Box.Down("wan0") }

// WANUp sets wan0 up and puts addresses and default routes back.
func (l *Lab) WANUp() { l.t.Helper(); l.Box.Up("wan0"); l.connectWAN() }

// UnplugWAN takes the carrier away at the ISP's end: addresses and routes of the box
// stay, and nothing gets through.
func (l *Lab) UnplugWAN() {
	l.t.Helper()
	l.ISP.Down("box0")
	l.Box.awaitState("wan0", netlink.OperDown)
}

// PlugWAN brings the carrier back and waits until the box has noticed, for which the
// kernel takes up to a second.
func (l *Lab) PlugWAN() {
	l.t.Helper()
	l.ISP.Up("box0")
	l.Box.awaitState("wan0", netlink.OperUp)
}

// FlapWAN takes the WAN down for d as WANDown and WANUp do.
func (l *Lab) FlapWAN(d time.Duration) {
	l.t.Helper()
	l.WANDown()
	time.Sleep(d)
	l.WANUp()
}
