package test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/miekg/dns"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/nameroute/nameroute/test/netlab"
	"github.com/nameroute/nameroute/test/netlab/dnsover"
)

// encryptions are how clients may ask the box encrypted.
var encryptions = []string{"dot", "h2", "h3", "doq"}

// boxName is in the box's certificate.
const boxName = "box.home.example"

// encrypted asks the box over one connection, which its first query makes.
type encrypted func(m *dns.Msg) (*dns.Msg, error)

// query asks for a name, which must be answered with NOERROR.
func (e encrypted) query(name string, qtype uint16) (*dns.Msg, error) {
	m := new(dns.Msg).SetQuestion(dns.Fqdn(name), qtype)
	m.Id = 0 // RFC 9250 section 4.2.1, RFC 8484 section 4.1
	reply, err := e(m)
	if err == nil && (reply.Id != 0 || reply.Rcode != dns.RcodeSuccess || reply.Truncated || len(reply.Question) != 1 || reply.Question[0] != m.Question[0]) {
		err = fmt.Errorf("answered %v", reply)
	}
	return reply, err
}

// encrypt returns a client of the box that trusts certificates by a pool.
func (g *gate) encrypt(from *netlab.Host, at netip.Addr, over string, pool *x509.CertPool, limit time.Duration) encrypted {
	config := &tls.Config{RootCAs: pool, ServerName: boxName}
	switch over {
	case "dot":
		return g.overTLS(from, netip.AddrPortFrom(at, 853), config, limit)
	case "doq":
		config.NextProtos = []string{"doq"}
		return g.overQUIC(from, netip.AddrPortFrom(at, 853), config, limit)
	}
	to := netip.AddrPortFrom(at, 443)
	if over == "h3" {
		rt := &http3.Transport{TLSClientConfig: config, Dial: func(ctx context.Context, _ string, c *tls.Config, q *quic.Config) (*quic.Conn, error) {
			return g.dialQUIC(ctx, from, to, c, q)
		}}
		g.t.Cleanup(func() { rt.Close() })
		return overHTTP(rt, limit)
	}
	rt := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true, DialContext: func(context.Context, string, string) (net.Conn, error) {
		return from.DialWith(net.Dialer{Timeout: limit}, "tcp", to.String())
	}}
	g.t.Cleanup(rt.CloseIdleConnections)
	return overHTTP(rt, limit)
}

func (g *gate) overTLS(from *netlab.Host, to netip.AddrPort, config *tls.Config, limit time.Duration) encrypted {
	var c *dns.Conn
	return func(m *dns.Msg) (*dns.Msg, error) {
		if c == nil {
			raw, err := from.DialWith(net.Dialer{Timeout: limit}, "tcp", to.String())
			if err != nil {
				return nil, err
			}
			g.t.Cleanup(func() { raw.Close() })
			c = &dns.Conn{Conn: tls.Client(raw, config)}
		}
		c.SetDeadline(time.Now().Add(limit))
		if err := c.WriteMsg(m); err != nil {
			return nil, err
		}
		return c.ReadMsg()
	}
}

func (g *gate) dialQUIC(ctx context.Context, from *netlab.Host, to netip.AddrPort, c *tls.Config, q *quic.Config) (*quic.Conn, error) {
	p, err := from.ListenPacket("udp", ":0")
	if err != nil {
		return nil, err
	}
	tr := &quic.Transport{Conn: p}
	g.t.Cleanup(func() { tr.Close(); p.Close() })
	return tr.Dial(ctx, net.UDPAddrFromAddrPort(to), c, q)
}

// overQUIC reads each answer to the end of its stream.
func (g *gate) overQUIC(from *netlab.Host, to netip.AddrPort, config *tls.Config, limit time.Duration) encrypted {
	var c *quic.Conn
	return func(m *dns.Msg) (*dns.Msg, error) {
		if c == nil {
			ctx, cancel := context.WithTimeout(context.Background(), limit)
			defer cancel()
			conn, err := g.dialQUIC(ctx, from, to, config, &quic.Config{HandshakeIdleTimeout: limit})
			if err != nil {
				return nil, err
			}
			c = conn
		}
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		return dnsover.QUIC(ctx, c, m)
	}
}

func overHTTP(rt http.RoundTripper, limit time.Duration) encrypted {
	return func(m *dns.Msg) (*dns.Msg, error) {
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		reply, _, err := dnsover.HTTPS(ctx, rt, "https://"+boxName+"/dns-query", m)
		return reply, err
	}
}
