package upstream

import (
	"encoding/binary"
	"fmt"

	"github.com/miekg/dns"
)

const (
	headerLen = 12
	// udpSize is the EDNS size that we advertise: what fits one packet on every
	// path, so that no answer is fragmented (RFC 9715, section 3.1).
	udpSize = 1232
	// padBlock is what questions over TLS are padded to (RFC 8467, section 4.1).
	padBlock = 128
)

// question is all of a client's question that goes upstream. It is built afresh
// and not copied: the client's own EDNS options end here. A cookie is between two
// neighbours (RFC 7873, section 1), and an answer for one client's subnet
// (RFC 7871) would be cached for all.
type question struct {
	dns.Question
	rd, ad, cd, do bool
}

// questionOf reads a client's message, which has exactly one question.
func questionOf(m *dns.Msg) question {
	q := question{Question: m.Question[0], rd: m.RecursionDesired, ad: m.AuthenticatedData, cd: m.CheckingDisabled}
	if opt := m.IsEdns0(); opt != nil {
		q.do = opt.Do()
	}
	return q
}

// query is a question as it is sent: a message behind the two bytes of its length
// (RFC 1035, section 4.2.2), which a datagram leaves off.
type query struct {
	framed []byte
	end    int // of the question section, counted in the message
}

func (q query) msg() []byte { return q.framed[2:] }

// setID writes the id. A query is in flight on one socket at a time.
func (q query) setID(id uint16) { binary.BigEndian.PutUint16(q.framed[2:], id) }

// pack writes the question with id 0. The name keeps its case. edns is false only
// for a resolver that does not know EDNS; padded is for encrypted transports.
func (q question) pack(edns, padded bool) (query, error) {
	n := 2 + headerLen + len(q.Name) + 2 + 4 // a name with escapes is longer than what is packed
	b := make([]byte, n, n+2*padBlock)
	if q.rd {
		b[2+2] |= 1 << 0
	}
	if q.ad {
		b[2+3] |= 1 << 5
	}
	if q.cd {
		b[2+3] |= 1 << 4
	}
	b[2+5] = 1 // one question
	end, err := dns.PackDomainName(q.Name, b, 2+headerLen, nil, false)
	if err != nil {
		return query{}, fmt.Errorf("pack name %q: %w", q.Name, err)
	}
	b = binary.BigEndian.AppendUint16(b[:end], q.Qtype)
	b = binary.BigEndian.AppendUint16(b, q.Qclass)
	end = len(b) - 2
	if edns {
		b[2+11] = 1 // one additional record
		b = q.appendOPT(b, padded)
	}
	binary.BigEndian.PutUint16(b, uint16(len(b)-2))
	return query{framed: b, end: end}, nil
}

// appendOPT adds the OPT record of RFC 6891, section 6.1.2.
func (q question) appendOPT(b []byte, padded bool) []byte {
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

// knowsNoEDNS reports whether the reply is one that a server from before EDNS
// gives to an OPT record: RFC 6891, section 7.
func knowsNoEDNS(m *dns.Msg) bool {
	return (m.Rcode == dns.RcodeFormatError || m.Rcode == dns.RcodeNotImplemented) && m.IsEdns0() == nil
}
