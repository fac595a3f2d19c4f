// Package dnsover asks one query over HTTPS or QUIC, as a client of the box does.
package dnsover

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"

	"github.com/miekg/dns"
	"github.com/quic-go/quic-go"
)

// HTTPS asks with a POST (RFC 8484). It returns the version of HTTP, too.
func HTTPS(ctx context.Context, over http.RoundTripper, url string, q *dns.Msg) (reply *dns.Msg, version string, err error) {
	raw, err := q.Pack()
	if err != nil {
		return nil, "", err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(raw))
	if err != nil {
		return nil, "", err
	}
	req.Header.Set("Content-Type", "application/dns-message")
	res, err := over.RoundTrip(req)
	if err != nil {
		return nil, "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, res.Proto, err
	}
	if res.StatusCode != http.StatusOK {
		return nil, res.Proto, fmt.Errorf("%s: %s", res.Proto, res.Status)
	}
	reply = new(dns.Msg)
	return reply, res.Proto, reply.Unpack(body)
}

// QUIC asks on a stream of its own (RFC 9250), and reads the answer until the server ends
// the stream.
func QUIC(ctx context.Context, over *quic.Conn, q *dns.Msg) (*dns.Msg, error) {
	raw, err := q.Pack()
	if err != nil {
		return nil, err
	}
	s, err := over.OpenStreamSync(ctx)
	if err != nil {
		return nil, err
	}
	if end, ok := ctx.Deadline(); ok {
		s.SetDeadline(end)
	}
	if _, err := s.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(raw))), raw...)); err != nil {
		return nil, err
	}
	s.Close()
	body, err := io.ReadAll(s)
	if err != nil {
		return nil, err
	}
	if len(body) < 2 || int(binary.BigEndian.Uint16(body)) != len(body)-2 {
		return nil, fmt.Errorf("%d bytes, of which the first two are %v", len(body), body[:min(2, len(body))])
	}
	reply := new(dns.Msg)
	return reply, reply.Unpack(body[2:])
}
