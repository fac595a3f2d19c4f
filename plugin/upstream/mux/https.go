package mux

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/nameroute/nameroute/plugin/upstream/address"
	"github.com/nameroute/nameroute/plugin/upstream/bootstrap"
)

// mediaType is that of messages in both directions (RFC 8484, section 6).
const mediaType = "application/dns-message"

// target returns the URL of a resolver, with the name that its certificate must hold.
func target(a address.Address, name string) *url.URL {
	host := name
	if ip, err := netip.ParseAddr(name); err == nil && ip.Is6() {
		host = "[" + name + "]"
	}
	if port := a.Addr.Port(); port != 443 {
		host += ":" + strconv.Itoa(int(port))
	}
	u := &url.URL{Scheme: "https", Host: host}
	if p, err := url.Parse(a.Path); err == nil {
		u.Path, u.RawPath, u.RawQuery = p.Path, p.RawPath, p.RawQuery
	}
	return u
}

// request returns the request of a query. It says nothing of who asks.
func request(ctx context.Context, to *url.URL, msg []byte) *http.Request {
	r := &http.Request{
		Method: http.MethodPost, URL: to, Host: to.Host,
		Header:        http.Header{"Content-Type": {mediaType}, "Accept": {mediaType}, "User-Agent": {""}},
		Body:          io.NopCloser(bytes.NewReader(msg)),
		ContentLength: int64(len(msg)),
	}
	return r.WithContext(ctx)
}

// reply returns the message of a response, or what is wrong with it.
func reply(resp *http.Response) (Reply, error) {
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		to := ""
		if l := resp.Header.Get("Location"); l != "" {
			to = fmt.Sprintf(" to %.200q, which is not followed", l)
		}
		return Reply{}, failure("status", "HTTP status %d %s%s", resp.StatusCode, http.StatusText(resp.StatusCode), to)
	}
	kind := resp.Header.Get("Content-Type")
	if got, _, err := mime.ParseMediaType(kind); err != nil || got != mediaType {
		return Reply{}, failure("content_type", "content type %.100q, not %s", kind, mediaType)
	}
	msg, err := io.ReadAll(io.LimitReader(resp.Body, maxMessage+1))
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return Reply{}, failure("body", "the response is cut short: %w", err)
	case err != nil:
		return Reply{}, err
	case len(msg) > maxMessage:
		return Reply{}, failure("body", "the response has more than %d bytes", maxMessage)
	}
	// RFC 8484, section 5.1. A value that is none is no age.
	age, err := strconv.ParseUint(resp.Header.Get("Age"), 10, 31)
	if err != nil {
		age = 0
	}
	return Reply{msg, uint32(age)}, nil
}

// http2 opens connections of HTTP/2.
type http2 struct {
	options *Options
	to      *url.URL
}

func newHTTP2(o *Options) *http2 { return &http2{o, target(o.Address, o.Trust.Name())} }

func (h *http2) dial(ctx context.Context) (conn, error) {
	addrs, err := h.options.Addrs(ctx)
	if err != nil {
		return nil, err
	}
	return bootstrap.First(ctx, addrs, h.connect, func(c conn) { c.close() })
}

func (h *http2) connect(ctx context.Context, addr netip.AddrPort) (conn, error) {
	c := &http2Conn{to: h.to}
	secure, err := h.options.Trust.Dial(ctx, func() (net.Conn, error) {
		raw, err := h.options.Dial(ctx, "tcp", addr.String())
		if err != nil {
			return nil, err
		}
		return &counted{Conn: raw, n: &c.n}, nil
	})
	if err != nil {
		return nil, err
	}
	if p := secure.ConnectionState().NegotiatedProtocol; p != "h2" {
		secure.Close() // nothing was sent on it
		return nil, failure("protocol", "%s does not speak HTTP/2", h.options.Trust.Name())
	}
	var only http.Protocols
	only.SetHTTP2(true)
	t := &http.Transport{
		Protocols: &only, DisableCompression: true,
		DialTLSContext: func(context.Context, string, string) (net.Conn, error) { return secure, nil },
		// A ping shows whether a resolver that takes long is there.
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: h.options.Timeout / 2, PingTimeout: h.options.Timeout, WriteByteTimeout: h.options.Timeout},
		MaxResponseHeaderBytes: 16 << 10,
	}
	if c.conn, err = t.NewClientConn(ctx, "https", net.JoinHostPort(h.options.Trust.Name(), "443")); err != nil {
		secure.Close() // the error is known
		return nil, err
	}
	return c, nil
}

type http2Conn struct {
	to   *url.URL
	conn *http.ClientConn
	n    atomic.Uint64
}

func (c *http2Conn) exchange(ctx context.Context, framed []byte) (Reply, error) {
	resp, err := c.conn.RoundTrip(request(ctx, c.to, framed[2:]))
	if err != nil {
		return Reply{}, err
	}
	return reply(resp)
}

func (c *http2Conn) received() uint64 { return c.n.Load() }
func (c *http2Conn) usable() bool     { return c.conn.Err() == nil }
func (c *http2Conn) close()           { c.conn.Close() } // its error means nothing: no query is open

// counted counts what is read.
type counted struct {
	net.Conn
	n *atomic.Uint64
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.n.Add(uint64(n))
	return n, err
}

// lingering is how long the end of a stream is waited for whose reply is there.
const lingering = 50 * time.Millisecond
