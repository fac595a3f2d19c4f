package stream

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
)

const (
	// What one QUIC connection may have sent that is not read yet, and one of its streams.
	quicStreamWindow, quicWindow = 2 + maxMessage, 4 * (2 + maxMessage)

	// quicUniStreams is what HTTP/3 needs (RFC 9114 section 6.2), with room for extensions.
	quicUniStreams = 8

	// linger is how long a connection that ends is kept after its last answer.
	linger = 200 * time.Millisecond
)

// QUIC accepts the QUIC connections of one socket: of DNS over QUIC (RFC 9250), or of HTTP/3.
// They outlive the servers that are attached to it.
type QUIC struct {
	servers
	bounds    *Bounds
	transport *quic.Transport
	listener  *quic.EarlyListener
	protocol  protocol
	running   sync.WaitGroup // the connections

	connsMu sync.Mutex
	conns   map[*quic.Conn]*origin
}

// protocol is what is spoken on QUIC connections.
type protocol interface {
	// tls returns what a server's TLS is with the protocol.
	tls(*tls.Config) *tls.Config
	// serve serves a connection to its end.
	serve(*quic.Conn, *origin)
	// end is the code of a connection that ends without an error.
	end() quic.ApplicationErrorCode
}

// NewQUIC returns the front of a socket that speaks DNS over QUIC. Servers are attached to it
// before Serve.
func NewQUIC(p net.PacketConn, b *Bounds) *QUIC {
	f := newQUIC(p, b)
	f.protocol = doq{f}
	return f
}

func newQUIC(p net.PacketConn, b *Bounds) *QUIC {
	f := &QUIC{bounds: b, conns: map[*quic.Conn]*origin{}, transport: &quic.Transport{
		Conn: p,
		// What a spoofed packet may make us hold is nothing, for one round trip more of the LAN.
		VerifySourceAddress: func(net.Addr) bool { return true },
	}}
	return f
}

// Serve accepts connections until Close.
func (f *QUIC) Serve() error {
	o := f.options()
	f.transport.StatelessResetKey = resetKey(o.TLS)
	config := &quic.Config{GetConfigForClient: func(*quic.ClientInfo) (*quic.Config, error) { return configOf(f.options()), nil }}
	f.connsMu.Lock()
	if f.isClosed() {
		f.connsMu.Unlock()
		return nil
	}
	var err error
	f.listener, err = f.transport.ListenEarly(&tls.Config{
		MinVersion:         tls.VersionTLS13,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return f.protocol.tls(f.options().TLS), nil },
	}, config)
	f.connsMu.Unlock()
	if err != nil {
		return err
	}
	for {
		c, err := f.listener.Accept(context.Background())
		if err != nil {
			if f.isClosed() || errors.Is(err, quic.ErrServerClosed) {
				return nil
			}
			return err
		}
		f.running.Go(func() { f.serve(c) })
	}
}

// configOf returns what QUIC is to do with a connection. There is no 0-RTT: its queries can be
// repeated by others (RFC 9250 section 4.5), and a LAN's round trip is short.
func configOf(o Options) *quic.Config {
	return &quic.Config{
		HandshakeIdleTimeout: o.ReadTimeout, MaxIdleTimeout: o.IdleTimeout,
		MaxIncomingStreams: int64(o.streams()), MaxIncomingUniStreams: quicUniStreams,
		InitialStreamReceiveWindow: quicStreamWindow, MaxStreamReceiveWindow: quicStreamWindow,
		InitialConnectionReceiveWindow: quicWindow, MaxConnectionReceiveWindow: quicWindow,
	}
}

// resetKey makes the key by which clients of an earlier process, which was killed, learn that
// their connections are gone (RFC 9000 section 10.3). It is the same for the same certificate.
func resetKey(c *tls.Config) *quic.StatelessResetKey {
	if c == nil || len(c.Certificates) == 0 {
		return nil
	}
	der, err := x509.MarshalPKCS8PrivateKey(c.Certificates[0].PrivateKey)
	if err != nil {
		return nil
	}
	key := quic.StatelessResetKey(sha256.Sum256(append([]byte("QUIC stateless reset\x00"), der...)))
	return &key
}

func (f *QUIC) serve(c *quic.Conn) {
	end := func() error { return c.CloseWithError(f.protocol.end(), "") }
	defer end()
	who := &origin{tally: &tally{}, local: c.LocalAddr(), remote: c.RemoteAddr(), tls: func() *tls.ConnectionState {
		state := c.ConnectionState().TLS
		return &state
	}}
	who.touch()
	if who.place = f.bounds.enter(who.remote, who, end); who.place == nil {
		return
	}
	defer who.place.leave()
	f.connsMu.Lock()
	f.conns[c] = who
	f.connsMu.Unlock()
	defer func() {
		f.connsMu.Lock()
		defer f.connsMu.Unlock()
		delete(f.conns, c)
	}()
	f.protocol.serve(c, who)
}

// Close accepts no further connection and no further query. Pending queries are still answered.
func (f *QUIC) Close() {
	f.close()
	f.connsMu.Lock()
	defer f.connsMu.Unlock()
	if f.listener != nil {
		f.listener.Close()
	}
}

// Wait ends the connections when their queries are answered, at the latest when ctx ends.
func (f *QUIC) Wait(ctx context.Context) {
	f.last.Wait(ctx)
	var last int64
	f.connsMu.Lock()
	for _, who := range f.conns {
		last = max(last, who.lastActive())
	}
	f.connsMu.Unlock()
	select { // the end of a connection overtakes what was sent before it
	case <-ctx.Done():
	case <-time.After(time.Until(time.Unix(0, last).Add(linger))):
	}
	f.connsMu.Lock()
	for c := range f.conns {
		c.CloseWithError(f.protocol.end(), "")
	}
	f.connsMu.Unlock()
	waitFor(ctx, &f.running)
	f.transport.Close()
	f.transport.Conn.Close()
}
