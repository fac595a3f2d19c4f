package leases

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

const (
	// keaHeader begins the first line of a Kea memfile, which names the columns.
	keaHeader = "address,"
	// keaPrefix is the lease_type of a delegated prefix.
	keaPrefix = "2"
)

// keaColumns holds the column numbers of a Kea memfile; -1 is a missing column.
type keaColumns struct {
	address, duid, lifetime, expire, leaseType, hostname, state int
}

// keaHeaderColumns parses the header. Columns differ between the families and between
// versions of Kea.
func keaHeaderColumns(line string) (c keaColumns, err error) {
	names := strings.Split(line, ",")
	for name, at := range map[string]*int{"address": &c.address, "duid": &c.duid, "valid_lifetime": &c.lifetime,
		"expire": &c.expire, "lease_type": &c.leaseType, "hostname": &c.hostname, "state": &c.state} {
		*at = slices.Index(names, name)
	}
	if min(c.address, c.lifetime, c.expire, c.hostname) < 0 {
		return c, errors.New("the first line looks like a Kea header but lacks one of address, valid_lifetime, expire, hostname")
	}
	return c, nil
}

// line parses one lease. A later line replaces an earlier one of the same address, also
// if it has no name or is expired. It returns false for a delegated prefix.
func (c keaColumns) line(line, suffix string) (entry, bool, error) {
	f := strings.Split(line, ",")
	column := func(i int) string {
		if i < 0 || i >= len(f) {
			return ""
		}
		return f[i]
	}
	if column(c.leaseType) == keaPrefix {
		return entry{}, false, nil
	}
	addr, err := netip.ParseAddr(column(c.address))
	if err != nil || addr.Zone() != "" {
		return entry{}, false, fmt.Errorf("address %.60q: want an IPv4 or IPv6 address", column(c.address))
	}
	lifetime, err := strconv.ParseUint(column(c.lifetime), 10, 32)
	if err != nil {
		return entry{}, false, fmt.Errorf("valid_lifetime %.40q: want seconds", column(c.lifetime))
	}
	expire, err := strconv.ParseInt(column(c.expire), 10, 64)
	if err != nil || expire < 0 {
		return entry{}, false, fmt.Errorf("expire %.40q: want seconds since 1970", column(c.expire))
	}
	e := entry{addr: addr.Unmap(), since: expire - int64(lifetime), expires: expire, client: column(c.duid)}
	if lifetime == math.MaxUint32 { // RFC 2131 section 3.3, RFC 8415 section 7.7
		e.expires = never
	}
	// States other than 0 are declined, reclaimed and released; no lifetime is an expired
	// lease.
	if s := column(c.state); lifetime > 0 && (s == "" || s == "0") {
		e.label = labelOf(unescape(column(c.hostname)), suffix)
	}
	return e, true, nil
}

// unescape decodes Kea's escapes such as "&#x2c" for a comma: two hexadecimal digits
// and no semicolon.
func unescape(s string) string {
	const mark = "&#x"
	if !strings.Contains(s, mark) {
		return s
	}
	var out strings.Builder
	for {
		before, after, ok := strings.Cut(s, mark)
		out.WriteString(before)
		if !ok {
			return out.String()
		}
		code, err := strconv.ParseUint(after[:min(2, len(after))], 16, 8)
		if err != nil || len(after) < 2 {
			out.WriteString(mark)
			s = after
			continue
		}
		out.WriteByte(byte(code))
		s = after[2:]
	}
}
