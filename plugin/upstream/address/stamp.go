package address

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// hashLen is the length of a SHA-256.
const hashLen = 32

// otherStamps are the protocols of stamps that we do not speak.
var otherStamps = map[byte]string{
	0x01: "DNSCrypt", 0x05: "Oblivious DoH", 0x81: "a DNSCrypt relay", 0x85: "an Oblivious DoH relay",
}

var errShort = errors.New("the stamp is cut short: want the whole of it")

// parseStamp parses a DNS stamp (https://dnscrypt.info/stamps-specifications). The addresses
// of resolvers that it may have for looking up its name are not used: `bootstrap` says those.
func parseStamp(s string) (Address, error) {
	text := strings.TrimPrefix(strings.TrimPrefix(s, "sdns:"), "//")
	b, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(text, "="))
	if err != nil {
		return Address{}, fmt.Errorf("address %s: the stamp is not in base64url: want sdns:// and the characters A-Z, a-z, 0-9, - and _", s)
	}
	a, err := stamp(b).address()
	if err != nil {
		return Address{}, fmt.Errorf("address %s: %w", s, err)
	}
	return a, nil
}

// stamp is the part of a stamp that is not read yet.
type stamp []byte

func (b stamp) address() (Address, error) {
	if len(b) == 0 {
		return Address{}, errShort
	}
	kind := b[0]
	of := map[byte]Transport{0: UDP, 2: HTTPS, 3: TLS, 4: QUIC}
	t, ok := of[kind]
	switch other, known := otherStamps[kind]; {
	case known:
		return Address{}, fmt.Errorf("the stamp is that of %s, which is not supported: want one of plain DNS, DoH, DoT or DoQ", other)
	case !ok:
		return Address{}, fmt.Errorf("the stamp is of an unknown kind, %#02x: want one of plain DNS, DoH, DoT or DoQ", kind)
	case len(b) < 9:
		return Address{}, errShort
	}
	b = b[9:] // and what the operator says of the server
	where, err := b.field()
	if err != nil {
		return Address{}, err
	}
	a := Address{Transport: t}
	if t == UDP {
		if a.Addr, err = parseAddrPort(where, t.port()); err != nil {
			return Address{}, fmt.Errorf("the stamp's address %q: %w", where, err)
		}
		return a, nil
	}
	if a.Hashes, err = b.hashes(); err != nil {
		return Address{}, err
	}
	host, err := b.field()
	if err != nil {
		return Address{}, err
	}
	if t == HTTPS {
		path, err := b.field()
		if err != nil {
			return Address{}, err
		}
		if !strings.HasPrefix(path, "/") {
			return Address{}, fmt.Errorf("the stamp's path %q does not begin with /", path)
		}
		if a.Path, err = checkPath(path); err != nil {
			return Address{}, err
		}
	}
	return a.at(where, host)
}

// at places the resolver: host is NAME or NAME:PORT, where is "", :PORT, ADDRESS or
// ADDRESS:PORT.
func (a Address) at(where, host string) (Address, error) {
	if err := a.named(host); err != nil {
		return Address{}, fmt.Errorf("the stamp's name: %w", err)
	}
	port := a.Addr.Port()
	if number, found := strings.CutPrefix(where, ":"); found {
		n, err := strconv.ParseUint(number, 10, 16)
		if err != nil || n == 0 {
			return Address{}, fmt.Errorf("the stamp's port %q is not a number from 1 to 65535", number)
		}
		a.Addr = netip.AddrPortFrom(netip.Addr{}, uint16(n))
		return a, nil
	}
	if where == "" {
		return a, nil
	}
	addr, err := parseAddrPort(where, port)
	if err != nil {
		return Address{}, fmt.Errorf("the stamp's address %q: %w", where, err)
	}
	a.Addr, a.Host = addr, ""
	return a, nil
}

// field reads a string that follows the byte of its length.
func (b *stamp) field() (string, error) {
	if len(*b) == 0 || len(*b) < 1+int((*b)[0]) {
		return "", errShort
	}
	n := 1 + int((*b)[0])
	s := string((*b)[1:n])
	*b = (*b)[n:]
	return s, nil
}

// hashes reads a set of hashes: the highest bit of a length says that another one follows.
func (b *stamp) hashes() (string, error) {
	all := ""
	for more := true; more; {
		if len(*b) == 0 {
			return "", errShort
		}
		more = (*b)[0]&0x80 != 0
		(*b)[0] &= 0x7f
		h, err := b.field()
		switch {
		case err != nil:
			return "", err
		case len(h) != 0 && len(h) != hashLen:
			return "", fmt.Errorf("a hash of the stamp has %d bytes: want the %d of a SHA-256", len(h), hashLen)
		}
		all += h
	}
	return all, nil
}
