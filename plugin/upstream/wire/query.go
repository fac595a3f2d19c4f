// Package wire is what a resolver is sent, and how its replies are told from forged ones.
package wire

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"

	"github.com/miekg/dns"
)

const (
	// HeaderLen is the length of a message's header.
	HeaderLen = 12
	// UDPSize is the EDNS size that we advertise: it fits one packet on every path, so
	// no answer is fragmented (RFC 9715, section 3.1).
	UDPSize = 1232
	// padBlock is the multiple of bytes that queries over TLS are padded to (RFC 8467,
	// section 4.1).
	padBlock = 128
)

// Query is the part of a client's query that is forwarded. The client's EDNS options are
// not: a cookie is between two neighbours (RFC 7873, section 1), and Subnets says what becomes of
// where the client is. Nor is RD: it is always set,
// because a cache does not tell answers by it, and what a resolver gives without recursion,
// a referral or an error, would be everybody's answer.
type Query struct {
	dns.Question
	AD, CD, DO bool
	Subnet     netip.Prefix // RFC 7871; the zero value: none
}

// QueryOf returns the query of a client's message with one entry in its question section.
func QueryOf(m *dns.Msg) Query {
	q := Query{Question: m.Question[0], AD: m.AuthenticatedData, CD: m.CheckingDisabled}
	if opt := m.IsEdns0(); opt != nil {
		q.DO = opt.Do()
	}
	return q
}

// Packed is a query in wire format: a message that follows the two bytes of its
// length (RFC 1035, section 4.2.2), which a datagram does not have.
type Packed struct {
	Framed []byte
	End    int // of the question section, counted in the message
}

// Msg returns the message.
func (q Packed) Msg() []byte { return q.Framed[2:] }

// SetID writes the id. A query is in flight on one socket at a time.
func (q Packed) SetID(id uint16) { binary.BigEndian.PutUint16(q.Framed[2:], id) }

// Pack packs the query with id 0, as using says. Without Case the name of a datagram is
// in lower case, over a stream in the client's. padded is for encrypted transports.
func (q Query) Pack(using Features, c Cookie, padded bool) (Packed, error) {
	n := 2 + HeaderLen + len(q.Name) + 2 + 4 // a name with escapes is longer than its packed form
	b := make([]byte, n, n+2*padBlock)
	b[2+2] = 1 << 0 // RD
	if q.AD {
		b[2+3] |= 1 << 5
	}
	if q.CD {
		b[2+3] |= 1 << 4
	}
	b[2+5] = 1 // one question
	end, err := dns.PackDomainName(q.Name, b, 2+HeaderLen, nil, false)
	if err != nil {
		return Packed{}, fmt.Errorf("pack name %q: %w", q.Name, err)
	}
	name := b[2+HeaderLen : end]
	switch {
	case using&Case != 0:
		randomCase(name)
	case using&UDP != 0:
		for i, c := range name {
			name[i] = lower(c)
		}
	}
	b = binary.BigEndian.AppendUint16(b[:end], q.Qtype)
	b = binary.BigEndian.AppendUint16(b, q.Qclass)
	end = len(b) - 2
	if using&EDNS != 0 {
		b[2+11] = 1 // one additional record
		b = q.appendOPT(b, using, c, padded)
	}
	binary.BigEndian.PutUint16(b, uint16(len(b)-2))
	return Packed{Framed: b, End: end}, nil
}

// randomCase draws the case of each letter, which a forger then has to guess too
// (draft-vixie-dnsext-dns0x20). Lengths of labels are below 64 and have no case.
func randomCase(name []byte) {
	var bits [256 / 8]byte
	rand.Read(bits[:(len(name)+7)/8]) // never returns an error
	for i, c := range name {
		if l := lower(c); 'a' <= l && l <= 'z' {
			name[i] = l ^ bits[i/8]>>(i%8)&1<<5
		}
	}
}

// OwnCase gives the question section of a reply the case of the client's name, and with it
// every name in the message that points there.
func (q Query) OwnCase(reply []byte) {
	if len(reply) > HeaderLen && reply[4] == 0 && reply[5] == 1 {
		dns.PackDomainName(q.Name, reply, HeaderLen, nil, false) // as long as the name that matched
	}
}

// RepeatCase gives the owner names that are the client's name the case that it used: those
// of an answer that is shared, or that a resolver wrote out.
func RepeatCase(m *dns.Msg, name string) {
	for _, section := range [...][]dns.RR{m.Answer, m.Ns, m.Extra} {
		for _, rr := range section {
			if h := rr.Header(); h.Name != name && len(h.Name) == len(name) && strings.EqualFold(h.Name, name) {
				h.Name = name
			}
		}
	}
}

// appendOPT adds the OPT record of RFC 6891, section 6.1.2.
func (q Query) appendOPT(b []byte, using Features, c Cookie, padded bool) []byte {
	size := uint16(UDPSize)
	if using&Large == 0 {
		size = dns.MinMsgSize
	}
	b = append(b, 0) // the root
	b = binary.BigEndian.AppendUint16(b, dns.TypeOPT)
	b = binary.BigEndian.AppendUint16(b, size)
	flags := uint32(0)
	if q.DO {
		flags = 1 << 15
	}
	b = binary.BigEndian.AppendUint32(b, flags)
	options := len(b)
	b = append(b, 0, 0)
	if using&Cookies != 0 {
		b = c.appendTo(b)
	}
	if q.Subnet.IsValid() {
		b = appendSubnet(b, q.Subnet)
	}
	if padded {
		const option = 4 // bytes of its header
		pad := (padBlock - (len(b)-2+option)%padBlock) % padBlock
		b = binary.BigEndian.AppendUint16(b, dns.EDNS0PADDING)
		b = binary.BigEndian.AppendUint16(b, uint16(pad))
		b = append(b, make([]byte, pad)...)
	}
	binary.BigEndian.PutUint16(b[options:], uint16(len(b)-options-2))
	return b
}

// Rejected returns those features of a query that its reply may be an error for. FORMERR is
// what servers from before EDNS say (RFC 6891, section 7), some with an OPT record.
func Rejected(using Features, m *dns.Msg) Features {
	switch {
	case m.Rcode == dns.RcodeFormatError, m.Rcode == dns.RcodeBadVers:
	case m.Rcode == dns.RcodeNotImplemented && m.IsEdns0() == nil:
	default:
		return 0
	}
	if using&Cookies != 0 {
		return Cookies
	}
	return using & NeedingEDNS
}
