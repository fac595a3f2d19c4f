package leases

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// shortest is the earliest time that is taken for one, in seconds since 1970: that is
// September 2001. A dnsmasq that was built for machines without a clock
// (HAVE_BROKEN_RTC) writes the length of the lease instead.
const shortest = 1_000_000_000

// dnsmasqLine reads one line of a lease file of dnsmasq:
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
		return entry{}, false, fmt.Errorf("%d words: want expiry, hardware address, address, name, client", len(f))
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
	if seconds < shortest {
		// 0 is an infinite lease. Of a length nobody knows when it began: dnsmasq takes
		// the line out when it is over.
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
