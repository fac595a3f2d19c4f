package markdial

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/miekg/dns"
)

// Ask sends one query for a name's IPv4 address to all servers at the same time, over UDP.
// It returns nil with the first answer, whatever is in it, but SERVFAIL and REFUSED: a
// server answers so that cannot resolve, or does not want to. Nothing is sent any more when
// it returns.
func (c Client) Ask(ctx context.Context, name string) error {
	if len(c.Servers) == 0 {
		return errors.New("no resolver to query")
	}
	timeout := c.Timeout
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	end := time.Now().Add(timeout)
	if sooner, ok := ctx.Deadline(); ok && sooner.Before(end) {
		end = sooner
	}
	answers := make(chan error, len(c.Servers))
	var conns []*dns.Conn
	defer func() {
		for _, conn := range conns {
			conn.Close()
		}
	}()
	for _, server := range c.Servers {
		conn, q, err := c.send(ctx, server, name, end)
		if err != nil {
			answers <- fmt.Errorf("%s: %w", server, err)
			continue
		}
		conns = append(conns, conn)
		go func() { answers <- answered(conn, q, server) }()
	}
	var errs []error
	for range c.Servers {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-answers:
			if err == nil {
				return nil
			}
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (c Client) send(ctx context.Context, server netip.AddrPort, name string, end time.Time) (*dns.Conn, *dns.Msg, error) {
	raw, err := BoundDialer(c.Mark, c.Link, 0).DialContext(ctx, "udp", server.String())
	if err != nil {
		return nil, nil, err
	}
	conn, q := &dns.Conn{Conn: raw, UDPSize: maxUDP}, new(dns.Msg).SetQuestion(dns.Fqdn(name), dns.TypeA)
	if err = conn.SetDeadline(end); err == nil {
		err = conn.WriteMsg(q)
	}
	if err != nil {
		conn.Close()
		return nil, nil, err
	}
	return conn, q, nil
}

// answered waits for the answer to a query and says what is wrong with it.
func answered(conn *dns.Conn, q *dns.Msg, server netip.AddrPort) error {
	for {
		m, err := conn.ReadMsg()
		switch {
		case err != nil:
			return fmt.Errorf("%s: %w", server, err)
		case m.Id != q.Id || !m.Response:
			continue // of an earlier query, or forged
		case m.Rcode == dns.RcodeServerFailure || m.Rcode == dns.RcodeRefused:
			return fmt.Errorf("%s: %s", server, dns.RcodeToString[m.Rcode])
		}
		return nil
	}
}
