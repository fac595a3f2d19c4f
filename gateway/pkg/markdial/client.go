package markdial

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sync/errgroup"

	"github.com/nameroute/nameroute/gateway"
)

// Client looks up names over sockets that carry a mark, so that the queries leave
// through the mark's route and no other. It may be used by several goroutines.
type Client struct {
	Servers []netip.AddrPort // queried in this order
	Mark    gateway.Mark
	Link    string        // the sockets are bound to it; "": to none
	Timeout time.Duration // of one attempt; 0 is 2 s
}

const (
	defaultTimeout = 2 * time.Second
	rounds         = 2    // how often the list of servers is tried
	maxUDP         = 1232 // bytes; what DNS Flag Day 2020 found to pass everywhere
	maxChain       = 16   // CNAMEs that are followed in one answer
)

// LookupNetIP queries AAAA and A at the same time, over UDP, and over TCP where the
// answer was truncated (RFC 7766 section 5). IPv6 addresses come first. It fails only
// where neither family has an address.
func (c Client) LookupNetIP(ctx context.Context, host string) ([]netip.Addr, error) {
	addrs, _, err := c.Lookup(ctx, host)
	return addrs, err
}

// Lookup is LookupNetIP that also returns for how long the addresses hold.
func (c Client) Lookup(ctx context.Context, host string) ([]netip.Addr, time.Duration, error) {
	if len(c.Servers) == 0 {
		return nil, 0, fmt.Errorf("resolve %s: no resolver to query", host)
	}
	types := [...]uint16{dns.TypeAAAA, dns.TypeA}
	var found [len(types)][]netip.Addr
	var ttls [len(types)]time.Duration
	var errs [len(types)]error
	var g errgroup.Group
	for i, t := range types {
		g.Go(func() error {
			found[i], ttls[i], errs[i] = c.lookup(ctx, dns.Fqdn(host), t)
			return nil
		})
	}
	_ = g.Wait() // one family that fails does not fail the other; see errs
	if addrs := append(found[0], found[1]...); len(addrs) > 0 {
		return addrs, shortest(ttls[:], found[:]), nil
	}
	if errs[0] == errNoName && errs[1] == errNoName {
		return nil, 0, fmt.Errorf("resolve %s: %w", host, errNoName)
	}
	// Some servers deny the name for the family that it does not have.
	for i, err := range errs {
		if err == errNoName {
			errs[i] = nil
		}
	}
	if err := errors.Join(errs[:]...); err != nil {
		return nil, 0, fmt.Errorf("resolve %s: %w", host, err)
	}
	return nil, 0, fmt.Errorf("resolve %s: no usable address", host)
}

// shortest returns the shortest TTL of the families that have addresses.
func shortest(ttls []time.Duration, found [][]netip.Addr) time.Duration {
	least := time.Duration(math.MaxInt64)
	for i, addrs := range found {
		if len(addrs) > 0 {
			least = min(least, ttls[i])
		}
	}
	return least
}

var errNoName = errors.New("no such name")

// lookup sends one query to the servers in turn until one of them answers it.
func (c Client) lookup(ctx context.Context, name string, qtype uint16) ([]netip.Addr, time.Duration, error) {
	var errs []error
	for round := range rounds {
		for _, server := range c.Servers {
			// Old servers fail on EDNS: the second round does without it.
			m, err := c.exchange(ctx, server, name, qtype, round == 0)
			if err == nil && m.Rcode == dns.RcodeNameError {
				return nil, 0, errNoName
			}
			if err == nil && m.Rcode == dns.RcodeSuccess {
				return answerAddrs(m, name, qtype), answerTTL(m), nil
			}
			if err == nil {
				err = errors.New(dns.RcodeToString[m.Rcode])
			}
			errs = append(errs, fmt.Errorf("%s from %s: %w", dns.TypeToString[qtype], server, err))
			if ctx.Err() != nil {
				return nil, 0, errors.Join(errs...)
			}
		}
	}
	return nil, 0, errors.Join(errs...)
}

func (c Client) exchange(ctx context.Context, server netip.AddrPort, name string, qtype uint16, edns bool) (*dns.Msg, error) {
	q := new(dns.Msg).SetQuestion(name, qtype)
	if edns {
		q.SetEdns0(maxUDP, false)
	}
	timeout := c.Timeout
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	var m *dns.Msg
	for _, network := range []string{"udp", "tcp"} {
		transport := dns.Client{Net: network, Timeout: timeout, UDPSize: maxUDP, Dialer: BoundDialer(c.Mark, c.Link, timeout)}
		var err error
		if m, _, err = transport.ExchangeContext(ctx, q, server.String()); err != nil {
			return nil, err
		}
		if !m.Response || len(m.Question) != 1 || m.Question[0].Qtype != qtype || !strings.EqualFold(m.Question[0].Name, name) {
			return nil, errors.New("the reply does not match the query")
		}
		if !m.Truncated {
			return m, nil
		}
	}
	return nil, errors.New("the answer is truncated even over TCP")
}

// answerAddrs returns the addresses of the queried name, or of the end of its CNAME
// chain, whatever order the records are in.
func answerAddrs(m *dns.Msg, name string, qtype uint16) []netip.Addr {
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

// answerTTL returns how long the answer holds.
func answerTTL(m *dns.Msg) time.Duration {
	least := uint32(math.MaxUint32)
	for _, rr := range m.Answer {
		least = min(least, rr.Header().Ttl)
	}
	return time.Duration(least) * time.Second
}

// usable refuses the unspecified address that blocking resolvers answer with, and
// addresses that no remote host can have.
func usable(a netip.Addr) bool {
	return !a.IsUnspecified() && !a.IsMulticast() && !a.IsLinkLocalUnicast()
}
