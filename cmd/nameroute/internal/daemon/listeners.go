package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/gateway/firewall"
	"github.com/nameroute/nameroute/gateway/pkg/ownaddrs"
)

// listenerHealth queries our own listeners. One that has answered must go on answering;
// one that never did (DNS over QUIC, an address that does not exist yet) is ignored.
type listenerHealth struct {
	current  func() ([]firewall.Listener, error)
	answered map[netip.AddrPort]bool
}

func (l *listenerHealth) check(ctx context.Context) error {
	all, err := l.current()
	if err != nil {
		return err
	}
	answered := map[netip.AddrPort]bool{}
	var errs []error
	for _, at := range all {
		if at.Proto != "udp" {
			continue
		}
		addr := at.Addr
		if !addr.IsValid() || addr.IsUnspecified() {
			addr = netip.AddrFrom4([4]byte{127, 0, 0, 1})
		}
		to := netip.AddrPortFrom(addr, at.Port)
		err := probeListener(ctx, to, len(all))
		answered[to] = err == nil || l.answered[to]
		if err != nil && answered[to] && hasAddress(addr) {
			errs = append(errs, fmt.Errorf("the listener at %s no longer answers: %w", to, err))
		}
	}
	l.answered = answered
	return errors.Join(errs...)
}

// probeListener sends a query that CoreDNS answers itself, whatever the Corefile says:
// one of class CHAOS never reaches an upstream. UDP goes first; where a flood fills its
// buffer, TCP still gets an answer. The listeners share the time that is left.
func probeListener(ctx context.Context, to netip.AddrPort, share int) error {
	q := new(dns.Msg).SetQuestion("version.bind.", dns.TypeTXT)
	q.Question[0].Qclass = dns.ClassCHAOS
	deadline, _ := ctx.Deadline()
	limit := time.Until(deadline) / time.Duration(2*max(share, 1))
	var errs []error
	for _, network := range []string{"udp", "tcp"} {
		c := dns.Client{Net: network, Timeout: limit}
		_, _, err := c.ExchangeContext(ctx, q, net.JoinHostPort(to.Addr().String(), strconv.Itoa(int(to.Port()))))
		if err == nil {
			return nil
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// hasAddress reports whether this machine still has an address. If not, its listener
// cannot be queried, and a restart would not help.
func hasAddress(a netip.Addr) bool {
	if a.IsLoopback() {
		return true
	}
	own, err := ownaddrs.Read()
	return err == nil && own[a.Unmap().WithZone("")]
}
