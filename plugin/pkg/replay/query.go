package replay

import (
	"encoding/binary"
	"slices"

	"github.com/miekg/dns"
)

const (
	headerSize  = 12
	optSize     = 11 // of an OPT record without options
	maxName     = 255
	maxKey      = maxName + 3
	flagEDNS    = 1 << 0
	flagDO      = 1 << 1
	flagRD      = 1 << 2
	flagCD      = 1 << 3
	flagAD      = 1 << 4
	headerRD    = 0x0100
	headerAD    = 0x0020
	headerCD    = 0x0010
	ednsFlagDO  = 0x8000
	minimalSize = dns.MinMsgSize
)

// plainQuery is a query of the plain kind, of which there is nothing more to know.
type plainQuery struct {
	key   [maxKey]byte // the name in lower case, the type, the flags
	n     int          // bytes of the key
	end   int          // of the question section in the query
	class uint16       // of the OPT record: the client's size; 0 without one
	flags byte
	qtype uint16
}

// types are those that are queried by hosts, and whose records are read by survey.
var types = []uint16{
	dns.TypeA, dns.TypeAAAA, dns.TypeHTTPS, dns.TypeSVCB, dns.TypeCNAME, dns.TypeMX, dns.TypeTXT, dns.TypeNS, dns.TypeSOA,
	dns.TypePTR, dns.TypeSRV, dns.TypeCAA, dns.TypeTLSA, dns.TypeSSHFP, dns.TypeURI, dns.TypeNAPTR, dns.TypeDNSKEY,
}

// parse reads a query. It returns false for one that is not of the plain kind: one question
// of class IN for a host's name and a common type, no flags but RD, AD and CD, and at most an
// OPT record without options.
func (q *plainQuery) parse(b []byte) bool {
	if len(b) < headerSize+1+4 {
		return false
	}
	bits := binary.BigEndian.Uint16(b[2:])
	if bits&^(headerRD|headerAD|headerCD) != 0 || binary.BigEndian.Uint16(b[4:]) != 1 ||
		binary.BigEndian.Uint32(b[6:]) != 0 || binary.BigEndian.Uint16(b[10:]) > 1 {
		return false
	}
	at := headerSize
	for {
		if at >= len(b) {
			return false
		}
		n := int(b[at])
		if n == 0 {
			break
		}
		if n > 63 || at+1+n >= len(b) || at+1+n-headerSize >= maxName {
			return false
		}
		q.key[at-headerSize] = byte(n)
		for i := at + 1; i <= at+n; i++ {
			c := b[i]
			switch {
			case 'A' <= c && c <= 'Z':
				c += 'a' - 'A'
			case 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '_':
			default:
				return false
			}
			q.key[i-headerSize] = c
		}
		at += 1 + n
	}
	if at == headerSize { // the root
		return false
	}
	q.key[at-headerSize] = 0
	at++
	if len(b) < at+4 || binary.BigEndian.Uint16(b[at+2:]) != dns.ClassINET {
		return false
	}
	q.qtype = binary.BigEndian.Uint16(b[at:])
	q.end, q.flags, q.class = at+4, 0, 0
	if bits&headerRD != 0 {
		q.flags |= flagRD
	}
	if bits&headerCD != 0 {
		q.flags |= flagCD
	}
	if bits&headerAD != 0 {
		q.flags |= flagAD
	}
	if !slices.Contains(types, q.qtype) || !q.parseOPT(b[q.end:], b[11] == 1) {
		return false
	}
	n := at - headerSize
	binary.BigEndian.PutUint16(q.key[n:], q.qtype)
	q.key[n+2] = q.flags
	q.n = n + 3
	return true
}

// parseOPT reads the additional section.
func (q *plainQuery) parseOPT(b []byte, present bool) bool {
	if !present {
		return len(b) == 0
	}
	// The root, the type, the size, no extended code, version 0, no flags but DO, no options.
	if len(b) != optSize || b[0] != 0 || binary.BigEndian.Uint16(b[1:]) != dns.TypeOPT ||
		binary.BigEndian.Uint16(b[5:]) != 0 || binary.BigEndian.Uint16(b[7:])&^ednsFlagDO != 0 || binary.BigEndian.Uint16(b[9:]) != 0 {
		return false
	}
	q.flags |= flagEDNS
	if b[7] != 0 {
		q.flags |= flagDO
	}
	q.class = binary.BigEndian.Uint16(b[3:])
	return true
}

// size is how large an answer may be.
func (q *plainQuery) size() int { return max(minimalSize, min(int(q.class), MaxSize)) }
