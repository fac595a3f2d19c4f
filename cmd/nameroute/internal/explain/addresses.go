package explain

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"syscall"
	"time"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/pkg/markdial"
)

// addresses finds out what becomes of packets to each address.
func (l *look) addresses(ctx context.Context) {
	for _, h := range l.facts.Held {
		a := Address{Address: h.Addr, Special: gateway.IsSpecial(h.Addr), Prefixes: l.prefixesOf(h.Addr)}
		if h.Excluded {
			a.Local = l.whyLocal(h.Addr)
		}
		for _, in := range h.In {
			if !in.Learned {
				continue
			}
			one := InSet{Set: in.Set, Route: in.Route, Seconds: in.Left.Round(time.Second).Seconds(), More: in.Unknown}
			for _, n := range in.Names {
				one.Names = append(one.Names, plainName(n))
			}
			a.Sets = append(a.Sets, one)
		}
		a.Packet = l.packetTo(a, h)
		if l.Probe {
			a.Probe = l.connect(ctx, a)
		}
		l.doc.Addresses = append(l.doc.Addresses, a)
	}
	l.flows()
}

// probeLimit is how long a connection is waited for.
const probeLimit = 5 * time.Second

// connect tries a connection from this box by the way that the client's would take.
func (l *look) connect(ctx context.Context, a Address) *Probe {
	to := netip.AddrPortFrom(a.Address, l.port())
	p := &Probe{To: to.String()}
	if a.Packet.Refused != "" || !a.Packet.Passes {
		p.Error = "nothing was sent: no packet gets out"
		return p
	}
	d := &net.Dialer{Timeout: probeLimit}
	if a.Packet.Mark != "" {
		d = markdial.BoundDialer(l.egressOf(a.Packet.Route).Mark, "", probeLimit)
	}
	began := time.Now()
	conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort(a.Address.String(), strconv.Itoa(int(to.Port()))))
	p.Seconds = time.Since(began).Seconds()
	switch {
	case err == nil:
		conn.Close()
	case isRefusal(err): // the other end has answered
	default:
		p.Error = err.Error()
	}
	return p
}

func isRefusal(err error) bool {
	var n syscall.Errno
	return asErrno(err, &n) && n == syscall.ECONNREFUSED
}

func asErrno(err error, to *syscall.Errno) bool { return errors.As(err, to) }
