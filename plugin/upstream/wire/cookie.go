package wire

import (
	"crypto/rand"
	"encoding/binary"
	"net/netip"
	"sync"

	"github.com/miekg/dns"
)

// Lengths of cookies: RFC 7873, section 4.
const (
	ClientCookieLen = 8
	MaxCookieLen    = 40 // with the server's part
)

// Jar keeps the cookies shared with one resolver via one route. The client's is drawn anew
// where our address changes, which it would otherwise tie to the one before (RFC 9018,
// section 3).
type Jar struct {
	mu     sync.Mutex
	local  netip.Addr
	client [ClientCookieLen]byte
	server []byte // nil: none known
}

// Cookie is the option of one query. Only the resolver can repeat its first part.
type Cookie struct {
	Client [ClientCookieLen]byte
	Server []byte
}

// Of returns the cookie for a query from the address.
func (j *Jar) Of(local netip.Addr) Cookie {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.local != local {
		j.local, j.server = local, nil
		rand.Read(j.client[:]) // never returns an error
	}
	return Cookie{j.client, j.server}
}

// Local returns the address that the cookie is for.
func (j *Jar) Local() netip.Addr {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.local
}

// Keep stores what the server gave for the client's cookie.
func (j *Jar) Keep(client [ClientCookieLen]byte, server []byte) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.client == client && string(server) != string(j.server) {
		j.server = append([]byte(nil), server...)
	}
}

// Forget has replies without a cookie accepted again.
func (j *Jar) Forget() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.server = nil
}

// appendTo appends the option.
func (c Cookie) appendTo(b []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, dns.EDNS0COOKIE)
	b = binary.BigEndian.AppendUint16(b, uint16(ClientCookieLen+len(c.Server)))
	return append(append(b, c.Client[:]...), c.Server...)
}

// CookieIn returns the cookie option of a message, nil where it has none; the records begin
// at off. A message that cannot be followed to it has none.
func CookieIn(msg []byte, off int) []byte {
	records := func(at int) int { return int(binary.BigEndian.Uint16(msg[at:])) }
	for range records(6) + records(8) + records(10) {
		off = skipName(msg, off)
		if off < 0 || off+10 > len(msg) {
			return nil
		}
		kind, n := binary.BigEndian.Uint16(msg[off:]), int(binary.BigEndian.Uint16(msg[off+8:]))
		if off += 10; off+n > len(msg) {
			return nil
		}
		if kind == dns.TypeOPT {
			return optionIn(msg[off:off+n], dns.EDNS0COOKIE)
		}
		off += n
	}
	return nil
}

// Age reduces the TTLs of a message by the seconds that it was kept elsewhere. A message that
// cannot be followed is reduced as far as it can.
func Age(msg []byte, by uint32) {
	if by == 0 || len(msg) < HeaderLen {
		return
	}
	off := HeaderLen
	count := func(at int) int { return int(binary.BigEndian.Uint16(msg[at:])) }
	for range count(4) {
		if off = skipName(msg, off) + 4; off < 4 {
			return
		}
	}
	for range count(6) + count(8) + count(10) {
		if off = skipName(msg, off); off < 0 || off+10 > len(msg) {
			return
		}
		if binary.BigEndian.Uint16(msg[off:]) != dns.TypeOPT {
			ttl := binary.BigEndian.Uint32(msg[off+4:])
			binary.BigEndian.PutUint32(msg[off+4:], ttl-min(ttl, by))
		}
		off += 10 + int(binary.BigEndian.Uint16(msg[off+8:]))
	}
}

// skipName returns the offset behind the name at off, or -1.
func skipName(msg []byte, off int) int {
	for off < len(msg) {
		switch n := int(msg[off]); {
		case n == 0:
			return off + 1
		case n >= 0xc0:
			return off + 2
		case n > 63:
			return -1
		default:
			off += n + 1
		}
	}
	return -1
}

func optionIn(opts []byte, code uint16) []byte {
	for len(opts) >= 4 {
		n := int(binary.BigEndian.Uint16(opts[2:]))
		if 4+n > len(opts) {
			return nil
		}
		if binary.BigEndian.Uint16(opts) == code {
			return opts[4 : 4+n]
		}
		opts = opts[4+n:]
	}
	return nil
}
