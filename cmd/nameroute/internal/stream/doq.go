package stream

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"io"
	"time"

	"github.com/coredns/coredns/plugin/pkg/dnsutil"
	"github.com/miekg/dns"
	"github.com/quic-go/quic-go"
)

// Codes of RFC 9250 section 8.4.
const (
	doqNoError       = 0
	doqInternalError = 1
	doqProtocolError = 2
)

// doq is DNS over QUIC: each query has a stream of its own, in the form of TCP.
type doq struct{ front *QUIC }

func (doq) tls(c *tls.Config) *tls.Config  { return c }
func (doq) end() quic.ApplicationErrorCode { return doqNoError }
func (d doq) serve(c *quic.Conn, who *origin) {
	for {
		s, err := c.AcceptStream(context.Background())
		if err != nil {
			return
		}
		go d.stream(c, s, who)
	}
}

// stream answers the query of one stream.
func (d doq) stream(c *quic.Conn, s *quic.Stream, who *origin) {
	defer s.CancelRead(doqNoError)
	o := d.front.options()
	s.SetReadDeadline(time.Now().Add(o.ReadTimeout))
	raw, err := readFramed(s)
	if err != nil {
		s.CancelWrite(doqInternalError) // the client's other queries go on
		d.front.ended(doqInternalError)
		return
	}
	q, err := dnsutil.UnpackRequest(raw)
	if err != nil || q.Id != 0 || hasKeepalive(q) {
		c.CloseWithError(doqProtocolError, "")
		d.front.ended(doqProtocolError)
		return
	}
	s.SetWriteDeadline(time.Time{})
	ok := d.front.answer(s.Context(), who, q, raw, func(b []byte) error {
		s.SetWriteDeadline(time.Now().Add(o.WriteTimeout))
		_, err := s.Write(append(binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(b)), uint16(len(b))), b...))
		return err
	})
	if !ok {
		s.CancelWrite(doqInternalError)
		return
	}
	s.Close()
	d.front.ended(doqNoError)
}

// readFramed reads a message with its length before it.
func readFramed(r io.Reader) ([]byte, error) {
	var length [2]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, err
	}
	message := make([]byte, binary.BigEndian.Uint16(length[:]))
	if _, err := io.ReadFull(r, message); err != nil {
		return nil, err
	}
	if len(message) < headerSize {
		return nil, io.ErrUnexpectedEOF
	}
	return message, nil
}

// hasKeepalive reports whether a query has the option of TCP that DNS over QUIC must not have.
func hasKeepalive(q *dns.Msg) bool {
	opt := q.IsEdns0()
	if opt == nil {
		return false
	}
	for _, o := range opt.Option {
		if o.Option() == dns.EDNS0TCPKEEPALIVE {
			return true
		}
	}
	return false
}
