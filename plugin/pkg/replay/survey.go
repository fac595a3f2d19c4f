package replay

import (
	"encoding/binary"
	"slices"

	"github.com/miekg/dns"
)

// survey is what must be known of an answer's bytes to give it again.
type survey struct {
	ttls []uint16 // where the TTLs are
	ttl  uint32   // all of them, which the cache makes equal
	opt  int      // where the OPT record is; 0 without one
}

// opaque are the types, besides the queried ones, whose data is never compressed.
var opaque = []uint16{dns.TypeRRSIG, dns.TypeNSEC, dns.TypeNSEC3, dns.TypeDS, dns.TypeDNAME}

// names says at which offset the data of a type has names that may be compressed, and how many.
func names(rrtype uint16) (offset, n int) {
	switch rrtype {
	case dns.TypeNS, dns.TypeCNAME, dns.TypePTR:
		return 0, 1
	case dns.TypeMX:
		return 2, 1
	case dns.TypeSOA:
		return 0, 2
	}
	return 0, 0
}

// read surveys an answer to q. It returns false for one that depends on more than its
// question: with compression, the names of records follow the question's case.
func (s *survey) read(b []byte, q *plainQuery) bool {
	if len(b) < q.end || len(b) > MaxSize {
		return false
	}
	bits := binary.BigEndian.Uint16(b[2:])
	rcode := int(bits & 0xf)
	// A reply, no opcode, not truncated, without the reserved bit.
	if bits&0xfa40 != 0x8000 || rcode != dns.RcodeSuccess && rcode != dns.RcodeNameError || binary.BigEndian.Uint16(b[4:]) != 1 {
		return false
	}
	records := int(binary.BigEndian.Uint16(b[6:])) + int(binary.BigEndian.Uint16(b[8:])) + int(binary.BigEndian.Uint16(b[10:]))
	at := q.end
	for i := range records {
		end, ok := s.record(b, at, i == records-1)
		if !ok {
			return false
		}
		at = end
	}
	return at == len(b) && len(s.ttls) > 0 && (s.opt > 0) == (q.flags&flagEDNS != 0)
}

// record reads one record.
func (s *survey) record(b []byte, at int, last bool) (end int, ok bool) {
	at, ok = skipName(b, at)
	if !ok || len(b) < at+10 {
		return 0, false
	}
	rrtype, ttl := binary.BigEndian.Uint16(b[at:]), binary.BigEndian.Uint32(b[at+4:])
	data := at + 10
	end = data + int(binary.BigEndian.Uint16(b[at+8:]))
	if end > len(b) {
		return 0, false
	}
	if rrtype == dns.TypeOPT {
		s.opt = at - 1
		return end, last && b[at-1] == 0 && end == data && ttl&^ednsFlagDO == 0
	}
	if !slices.Contains(types, rrtype) && !slices.Contains(opaque, rrtype) {
		return 0, false
	}
	if len(s.ttls) > 0 && ttl != s.ttl {
		return 0, false
	}
	s.ttl, s.ttls = ttl, append(s.ttls, uint16(at+4))
	offset, n := names(rrtype)
	data += offset
	for range n {
		if data, ok = skipName(b[:end], data); !ok {
			return 0, false
		}
	}
	return end, true
}

// skipName returns where a name without compression ends.
func skipName(b []byte, at int) (end int, ok bool) {
	for at < len(b) {
		n := int(b[at])
		if n == 0 {
			return at + 1, true
		}
		if n > 63 {
			return 0, false
		}
		at += 1 + n
	}
	return 0, false
}
