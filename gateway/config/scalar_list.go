package config

import (
	"encoding/base64"
	"fmt"
	"math"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/nameroute/nameroute/gateway"
)

const (
	wantKey  = "want the second line of minisign.pub, which begins with RW"
	wantSize = "want a number of bytes, or one with its unit, such as 512K, 64M or 1G"
	maxURL   = 2048 // bytes
)

// webAddress reads an http or https URL and returns it as it is written.
func (v value) webAddress() (string, bool) {
	const want = "want an http or https URL"
	s, ok := v.text(want)
	if !ok {
		return "", false
	}
	u, err := url.Parse(s)
	switch {
	case err != nil || len(s) > maxURL:
		v.problem("not a URL", want)
	case u.Scheme != "http" && u.Scheme != "https":
		v.problem("not an http or https URL", "want for example https://lists.example.org/list.txt")
	case u.Hostname() == "" || u.Opaque != "":
		v.problem("has no host", want)
	case u.Port() != "" && !isPort(u.Port()):
		v.problem("not a port", "want 1 to 65535")
	case u.User != nil:
		// The password must not get into logs.
		v.problemWith("", "has credentials in it", "want headers: {Authorization: ...}")
	case u.Fragment != "":
		v.problem("has a fragment", "want it without #...")
	default:
		return s, true
	}
	return "", false
}

func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n > 0
}

// publicKey reads a key of minisign(1): the algorithm Ed, 8 bytes of key id, 32 of
// the Ed25519 key.
func (v value) publicKey() (string, bool) {
	s, ok := v.text(wantKey)
	if !ok {
		return "", false
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil || len(raw) != 2+8+32 || raw[0] != 'E' || raw[1] != 'd' {
		v.problem("not a minisign public key", wantKey)
		return "", false
	}
	return s, true
}

// durationIn reads a duration within two bounds.
func (v value) durationIn(least, most time.Duration) (time.Duration, bool) {
	d, ok := v.duration()
	if !ok {
		return 0, false
	}
	switch {
	case d < least:
		v.problem("out of range", "want at least "+shortDuration(least))
	case d > most:
		v.problem("out of range", "want at most "+shortDuration(most))
	default:
		return d, true
	}
	return 0, false
}

// size reads a number of bytes, with K, M or G for powers of 1024.
func (v value) size() (int64, bool) {
	s, ok := v.text(wantSize)
	if !ok {
		return 0, false
	}
	unit := uint64(1)
	number := strings.TrimSuffix(strings.TrimSuffix(s, "B"), "i")
	if i := strings.IndexByte("KMG", (number + " ")[max(0, len(number)-1)]); i >= 0 {
		unit, number = 1<<(10*(i+1)), number[:len(number)-1]
	}
	n, err := strconv.ParseUint(number, 10, 64)
	switch {
	case err != nil || unit == 1 && number != s:
		v.problem("not a size", wantSize)
	case n == 0 || n > math.MaxInt64/unit || n*unit > gateway.MaxMaxSize:
		v.problem("out of range", fmt.Sprintf("want 1 to %dG", gateway.MaxMaxSize>>30))
	default:
		return int64(n * unit), true
	}
	return 0, false
}

// percent reads a percentage such as 40%.
func (v value) percent() (int, bool) {
	const want = "want a percentage such as 40%, from 0% to 100%"
	s, ok := v.text(want)
	if !ok {
		return 0, false
	}
	n, err := strconv.Atoi(strings.TrimSuffix(s, "%"))
	if err != nil || !strings.HasSuffix(s, "%") || n < 0 || n > 100 || s[0] == '+' || s[0] == '-' {
		v.problem("not a percentage", want)
		return 0, false
	}
	return n, true
}

// selector reads the name of a part of a file: a category or a country.
func (v value) selector() (string, bool) {
	const want = "want a category or a country, such as netflix, google@ads or CN"
	s, ok := v.text(want)
	strange := func(c rune) bool {
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		return !letter && !strings.ContainsRune("-_.!@", c)
	}
	if ok && (strings.ContainsFunc(s, strange) || strings.Trim(s, ".@") == "") {
		v.problem("not the name of a part of a file", want)
		return "", false
	}
	return s, ok
}

// resolversOrDHCP reads a list of resolvers, or the word dhcp: those that the link was given.
func (v value) resolversOrDHCP() (all []netip.AddrPort, handed bool) {
	if v.node.Value == gateway.HandedOut {
		return nil, true
	}
	return v.resolvers(), false
}

// resolvers reads a list of resolvers without duplicates.
func (v value) resolvers() []netip.AddrPort {
	var all []netip.AddrPort
	for _, item := range v.items("want a list of resolvers, such as [192.0.2.53]") {
		ap, ok := item.resolver()
		switch {
		case !ok:
		default:
			addOnce(&all, item, ap)
		}
	}
	return all
}
