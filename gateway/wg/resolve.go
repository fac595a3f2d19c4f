package wg

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/nameroute/nameroute/gateway"
)

// Resolver finds the addresses of an endpoint's name, of both families.
type Resolver interface {
	LookupNetIP(ctx context.Context, host string) ([]netip.Addr, error)
}

// DNS is a Resolver that asks by the WAN: its sockets carry the WAN's mark from the
// moment they are made, so that no question about an endpoint enters a tunnel.
// It may be used by several goroutines.
type DNS struct {
	Servers []netip.AddrPort // asked in this order
	Mark    gateway.Mark
	Timeout time.Duration // of one try; 0 is 2 s
}

const (
	defaultTry = 2 * time.Second
	rounds     = 2    // how often the list of servers is gone through
	maxUDP     = 1232 // bytes; what DNS Flag Day 2020 found to pass everywhere
	maxChain   = 16   // CNAMEs that are followed in one answer
)

// LookupNetIP asks for AAAA and A at the same time, by UDP, and by TCP where the
// answer was cut (RFC 7766 section 5). IPv6 addresses come first. It fails only
// where neither family has an address.
func (d DNS) LookupNetIP(ctx context.Context, host string) ([]netip.Addr, error) {
	if len(d.Servers) == 0 {
		return nil, fmt.Errorf("resolve %s: no resolver of the WAN is known", host)
	}
	types := [...]uint16{dns.TypeAAAA, dns.TypeA}
	var found [len(types)][]netip.Addr
	var errs [len(types)]error
	var g errgroup.Group
	for i, t := range types {
		g.Go(func() error {
			found[i], errs[i] = d.lookup(ctx, dns.Fqdn(host), t)
			return nil
		})
	}
	_ = g.Wait() // one family that fails does not fail the other; see errs
	if addrs := append(found[0], found[1]...); len(addrs) > 0 {
		return addrs, nil
	}
	if errs[0] == errNoName && errs[1] == errNoName {
		return nil, fmt.Errorf("resolve %s: %w", host, errNoName)
	}
	// Some servers deny the name for the family that it does not have.
	for i, err := range errs {
		if err == errNoName {
			errs[i] = nil
		}
	}
	if err := errors.Join(errs[:]...); err != nil {
		return nil, fmt.Errorf("resolve %s: %w", host, err)
	}
	return nil, fmt.Errorf("resolve %s: it has no usable address", host)
}

var errNoName = errors.New("no such name")

// lookup asks one question until a server answers it.
func (d DNS) lookup(ctx context.Context, name string, qtype uint16) ([]netip.Addr, error) {
	var errs []error
	for round := range rounds {
		for _, server := range d.Servers {
			// Old servers choke on EDNS: the second round does without.
			m, err := d.ask(ctx, server, name, qtype, round == 0)
			if err == nil && m.Rcode == dns.RcodeNameError {
				return nil, errNoName
			}
			if err == nil && m.Rcode == dns.RcodeSuccess {
				return addressesIn(m, name, qtype), nil
			}
			if err == nil {
				err = errors.New(dns.RcodeToString[m.Rcode])
			}
			errs = append(errs, fmt.Errorf("%s from %s: %w", dns.TypeToString[qtype], server, err))
			if ctx.Err() != nil {
				return nil, errors.Join(errs...)
			}
		}
	}
	return nil, errors.Join(errs...)
}

func (d DNS) ask(ctx context.Context, server netip.AddrPort, name string, qtype uint16, edns bool) (*dns.Msg, error) {
	q := new(dns.Msg).SetQuestion(name, qtype)
	if edns {
		q.SetEdns0(maxUDP, false)
	}
	try := d.Timeout
	if try <= 0 {
		try = defaultTry
	}
	var m *dns.Msg
	for _, network := range []string{"udp", "tcp"} {
		c := dns.Client{Net: network, Timeout: try, UDPSize: maxUDP, Dialer: marked(d.Mark, try)}
		var err error
		if m, _, err = c.ExchangeContext(ctx, q, server.String()); err != nil {
			return nil, err
		}
		if !m.Response || len(m.Question) != 1 || m.Question[0].Qtype != qtype || !strings.EqualFold(m.Question[0].Name, name) {
			return nil, errors.New("the reply is to another question")
		}
		if !m.Truncated {
			return m, nil
		}
	}
	return nil, errors.New("the answer is cut even by TCP")
}

// addressesIn takes the addresses of the name that was asked for, or that its CNAMEs
// lead to, whatever order the records are in.
func addressesIn(m *dns.Msg, name string, qtype uint16) []netip.Addr {
	alias := map[string]string{}
	for _, rr := range m.Answer {
		if c, ok := rr.(*dns.CNAME); ok {
			alias[strings.ToLower(c.Hdr.Name)] = strings.ToLower(c.Target)
		}
	}
	owner := strings.ToLower(name)
	for range maxChain {
		next, ok := alias[owner]
		if !ok {
			break
		}
		owner = next
	}
	var out []netip.Addr
	for _, rr := range m.Answer {
		if rr.Header().Rrtype != qtype || !strings.EqualFold(rr.Header().Name, owner) {
			continue
		}
		var ip net.IP
		switch rr := rr.(type) {
		case *dns.A:
			ip = rr.A
		case *dns.AAAA:
			ip = rr.AAAA
		}
		if a, ok := netip.AddrFromSlice(ip); ok && usable(a.Unmap()) {
			out = append(out, a.Unmap())
		}
	}
	return out
}

// usable refuses what resolvers that block names answer, and what cannot be a far end.
func usable(a netip.Addr) bool {
	return !a.IsUnspecified() && !a.IsMulticast() && !a.IsLinkLocalUnicast()
}

// marked is a dialer whose sockets carry the mark before they have a source
// address, which the kernel chooses by it.
func marked(m gateway.Mark, timeout time.Duration) *net.Dialer {
	return &net.Dialer{Timeout: timeout, Control: func(_, _ string, raw syscall.RawConn) error {
		var err error
		if e := raw.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK, int(m.Apply(0)))
		}); e != nil {
			return e
		}
		return err
	}}
}
