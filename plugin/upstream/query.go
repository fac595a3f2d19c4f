package upstream

import (
	"encoding/binary"
	"fmt"

	"github.com/miekg/dns"
)

const (
	headerLen = 12
	// udpSize is the EDNS size that we advertise: it fits one packet on every path, so
	// no answer is fragmented (RFC 9715, section 3.1).
	udpSize = 1232
	// padBlock is the multiple of bytes that queries over TLS are padded to (RFC 8467,
	// section 4.1).
	padBlock = 128
)

// query is the part of a client's query that is forwarded. The client's EDNS options are
// not: a cookie is between two neighbours (RFC 7873, section 1), and an answer for one
// client's subnet (RFC 7871) would be cached for all clients. Nor is RD: it is always set,
// because a cache does not tell answers by it, and what a resolver gives without recursion,
// a referral or an error, would be everybody's answer.
type query struct {
	dns.Question
	ad, cd, do bool
}

// queryOf returns the query of a client's message with one entry in its question section.
func queryOf(m *dns.Msg) query {
	q := query{Question: m.Question[0], ad: m.AuthenticatedData, cd: m.CheckingDisabled}
	if opt := m.IsEdns0(); opt != nil {
		q.do = opt.Do()
	}
	return q
}

// packedQuery is a query in wire format: a message that follows the two bytes of its
// length (RFC 1035, section 4.2.2), which a datagram does not have.
type packedQuery struct {
	framed []byte
	end    int // of the question section, counted in the message
}

func (q packedQuery) msg() []byte { return q.framed[2:] }

// setID writes the id. A query is in flight on one socket at a time.
func (q packedQuery) setID(id uint16) { binary.BigEndian.PutUint16(q.framed[2:], id) }

// pack packs the query with id 0. The name keeps its case. edns is false only for a
// resolver that rejects EDNS; padded is for encrypted transports.
func (q query) pack(edns, padded bool) (packedQuery, error) {
	n := 2 + headerLen + len(q.Name) + 2 + 4 // a name with escapes is longer than its packed form
	b := make([]byte, n, n+2*padBlock)
	b[2+2] = 1 << 0 // RD
	if q.ad {
		b[2+3] |= 1 << 5
	}
	if q.cd {
		b[2+3] |= 1 << 4
	}
	b[2+5] = 1 // one question
	end, err := dns.PackDomainName(q.Name, b, 2+headerLen, nil, false)
	if err != nil {
		return packedQuery{}, fmt.Errorf("pack name %q: %w", q.Name, err)
	}
	b = binary.BigEndian.AppendUint16(b[:end], q.Qtype)
	b = binary.BigEndian.AppendUint16(b, q.Qclass)
	end = len(b) - 2
	if edns {
		b[2+11] = 1 // one additional record
		b = q.appendOPT(b, padded)
	}
	binary.BigEndian.PutUint16(b, uint16(len(b)-2))
	return packedQuery{framed: b, end: end}, nil
}

// appendOPT adds the OPT record of RFC 6891, section 6.1.2.
func (q query) appendOPT(b []byte, padded bool) []byte {
	b = append(b, 0) // the root
	b = binary.BigEndian.AppendUint16(b, dns.TypeOPT)
	b = binary.BigEndian.AppendUint16(b, udpSize)
	flags := uint32(0)
	if q.do {
		flags = 1 << 15
	}
	b = binary.BigEndian.AppendUint32(b, flags)
	if !padded {
		return append(b, 0, 0)
	}
	const rdlen, option = 2, 4 // bytes of the lengths and of the option's own header
	pad := (padBlock - (len(b)-2+rdlen+option)%padBlock) % padBlock
	b = binary.BigEndian.AppendUint16(b, uint16(option+pad))
	b = binary.BigEndian.AppendUint16(b, dns.EDNS0PADDING)
	b = binary.BigEndian.AppendUint16(b, uint16(pad))
	return append(b, make([]byte, pad)...)
}

// rejectsEDNS reports whether the reply is one that a server from before EDNS
// gives to an OPT record: RFC 6891, section 7.
func rejectsEDNS(m *dns.Msg) bool {
	return (m.Rcode == dns.RcodeFormatError || m.Rcode == dns.RcodeNotImplemented) && m.IsEdns0() == nil
}
