//go:build linux

package netlab

import "fmt"

// Uplink is a further way of the box to the ISP, beside wan0, without a default route.
type Uplink struct {
	Link string // in the box
	Box  Pair   // the box's address on it
	Gate Pair   // the ISP's
}

// AddWAN connects the box to the ISP a second time: link wan1, tapped at the ISP as wan0 is.
func (l *Lab) AddWAN() Uplink {
	l.t.Helper()
	u := Uplink{Link: "wan1", Box: pair("31.0.5.2", "2a0e:5::2"), Gate: pair("31.0.5.1", "2a0e:5::1")}
	Cable(l.Box.Namespace, u.Link, l.ISP.Namespace, "box1")
	l.ISP.IP(fmt.Sprintf("addr add %s/24 dev box1", u.Gate.V4), fmt.Sprintf("addr add %s/64 dev box1 nodad", u.Gate.V6))
	l.Box.IP(fmt.Sprintf("addr add %s/24 dev %s", u.Box.V4, u.Link), fmt.Sprintf("addr add %s/64 dev %s nodad", u.Box.V6, u.Link))
	l.tapUplink("box1")
	return u
}

// tapUplink counts what comes by a further link of the ISP.
func (l *Lab) tapUplink(link string) {
	l.t.Helper()
	l.ISP.more = append(l.ISP.more, NewTap(l.ISP.Namespace, link))
}
