package leases

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// minExpiry is the least number that is a point in time, in seconds since 1970: September
// 2001. A dnsmasq built for machines without a clock (HAVE_BROKEN_RTC) writes the
// duration of the lease instead.
const minExpiry = 1_000_000_000

// dnsmasqLine parses one line of dnsmasq's lease file:
//
//	EXPIRES HARDWARE-ADDRESS IPV4 NAME|* CLIENT-ID|*
//	duid SERVER-DUID
//	EXPIRES IAID|TIAID IPV6 NAME|* CLIENT-DUID|*
//
// It returns false for lines without a lease.
func dnsmasqLine(line, suffix string) (entry, bool, error) {
	f := strings.Fields(line)
	if len(f) == 0 || len(f) == 2 && f[0] == "duid" {
		return entry{}, false, nil
	}
	if len(f) != 5 {
		return entry{}, false, fmt.Errorf("%d fields: want expiry, hardware address, address, name, client", len(f))
	}
	seconds, err := strconv.ParseInt(f[0], 10, 64)
	if err != nil || seconds < 0 {
		return entry{}, false, fmt.Errorf("expiry %.40q: want seconds since 1970", f[0])
	}
	addr, err := netip.ParseAddr(f[2])
	if err != nil || addr.Zone() != "" {
		return entry{}, false, fmt.Errorf("address %.60q: want an IPv4 or IPv6 address", f[2])
	}
	e := entry{addr: addr.Unmap(), since: seconds, expires: seconds}
	if seconds < minExpiry {
		// 0 is an infinite lease. The start of a duration is not known: dnsmasq removes
		// the line when the lease ends.
		e.expires = never
	}
	if f[3] != "*" {
		e.label = labelOf(f[3], suffix)
	}
	if addr.Is6() && f[4] != "*" {
		e.client = f[4]
	}
	return e, true, nil
}
