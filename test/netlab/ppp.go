//go:build linux

package netlab

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// PPP is a dialled line from the box to the ISP. The box's end is what pppd makes, a
// point-to-point interface without carrier of its own that is gone when the line
// is: a TUN, because not every kernel that runs tests has PPP. The ISP's end, tapped,
// stays.
type PPP struct {
	l     *Lab
	isp   *os.File
	box   atomic.Pointer[os.File] // nil while the line is not dialled
	dials int
}

// pppLink is the line's interface in the box.
const pppLink = "ppp0"

// NewPPP makes the ISP's end of a line.
func (l *Lab) NewPPP() *PPP {
	l.t.Helper()
	p := &PPP{l: l}
	p.isp = l.ISP.tun("pppbox")
	l.ISP.IP("addr add 31.0.6.1/32 dev pppbox", "addr add 2a0e:6::1/64 dev pppbox nodad", "link set pppbox up",
		"route add 31.0.6.0/24 dev pppbox")
	l.tapUplink("pppbox")
	go pump(p.isp, p.box.Load)
	l.t.Cleanup(func() { p.hangUp(); closeQuietly(p.isp) })
	return p
}

// Dial makes the box's end, each time with other addresses, which it returns, and
// the default routes by it.
func (p *PPP) Dial() Pair {
	p.l.t.Helper()
	p.dials++
	got := pair(fmt.Sprintf("31.0.6.%d", 10+p.dials), fmt.Sprintf("2a0e:6::%d", 10+p.dials))
	box := p.l.Box.tun(pppLink)
	p.box.Store(box)
	go pump(box, func() *os.File { return p.isp })
	p.l.Box.IP(fmt.Sprintf("addr add %s peer 31.0.6.1 dev %s", got.V4, pppLink), fmt.Sprintf("addr add %s/64 dev %s nodad", got.V6, pppLink),
		fmt.Sprintf("link set %s up", pppLink), fmt.Sprintf("route add default dev %s", pppLink), fmt.Sprintf("route add ::/0 dev %s", pppLink))
	return got
}

// HangUp ends the line: the box's end is gone, with its addresses and kernel routes.
func (p *PPP) HangUp() { p.l.t.Helper(); p.hangUp() }

func (p *PPP) hangUp() {
	if box := p.box.Swap(nil); box != nil {
		closeQuietly(box)
	}
}

// pump carries packets from one end to the other, where there is one, until it is closed.
func pump(from *os.File, to func() *os.File) {
	packet := make([]byte, 64<<10)
	for {
		n, err := from.Read(packet)
		if err != nil {
			return
		}
		if other := to(); other != nil {
			_, _ = other.Write(packet[:n]) // a line that hangs up loses what is on it
		}
	}
}

// tun makes a TUN that ends with its file.
func (n *Namespace) tun(name string) *os.File {
	n.t.Helper()
	var fd int
	var err error
	n.on(func() {
		if fd, err = unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0); err != nil {
			return
		}
		var request *unix.Ifreq
		if request, err = unix.NewIfreq(name); err == nil {
			request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
			err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
		}
		err = errors.Join(err, unix.SetNonblock(fd, true))
	})
	if err != nil {
		n.t.Fatalf("netlab: %s: tun %s: %v", n.Name, name, err)
	}
	return os.NewFile(uintptr(fd), name)
}
