package home

import (
	"fmt"
	"strings"
)

// kind determines how a name is answered. It is a label of the metric.
type kind string

const (
	pass      kind = ""          // forwarded
	localhost kind = "localhost" // RFC 6761 section 6.3
	special   kind = "special"   // a top-level domain that does not exist in the public DNS
	reverse   kind = "reverse"   // reverse names of addresses that are only locally unique
	domain    kind = "domain"    // local domains
	ddr       kind = "ddr"       // discovery of designated resolvers, RFC 9462
	canary    kind = "canary"    // queried by clients before they use another resolver
	single    kind = "single"    // single label
)

// zone is a name with all names below it.
type zone struct {
	name string // lower case FQDN
	kind kind
	ttl  uint32 // of denials, in seconds
	// delegated says that the zone exists in the public DNS, unsigned: queries for its DS
	// are forwarded, because a validating client needs that proof (RFC 8375 section 4,
	// RFC 6303 section 7).
	delegated bool
}

const (
	// lasting is the TTL of RFC 6303 section 3, for names that do not change.
	lasting = 10800
	// brief is the TTL of denials for names that may come to exist, such as that of a
	// client with a new lease. It is the shortest that CoreDNS's cache stores.
	brief = 5
)

// zones returns the zones that are always answered here.
func zones() []zone {
	all := []zone{
		{"localhost.", localhost, lasting, false},
		{"onion.", special, lasting, false},    // RFC 7686 section 2
		{"local.", special, lasting, false},    // RFC 6762 section 22.1: multicast DNS
		{"invalid.", special, lasting, false},  // RFC 6761 section 6.4
		{"test.", special, lasting, false},     // RFC 6761 section 6.2
		{"alt.", special, lasting, false},      // RFC 9476 section 3
		{"home.arpa.", domain, brief, true},    // RFC 8375 section 4
		{"service.arpa.", domain, brief, true}, // RFC 9665
		{"resolver.arpa.", ddr, lasting, true}, // RFC 9462 section 6.4
	}
	for _, z := range reverseZones() {
		all = append(all, zone{z, reverse, brief, true})
	}
	return all
}

// reverseZones returns the zones of RFC 6303 section 4 and RFC 7793.
func reverseZones() []string {
	const v4, v6 = ".in-addr.arpa.", ".ip6.arpa."
	all := []string{
		"10" + v4, "168.192" + v4, // RFC 1918
		"0" + v4, "127" + v4, "254.169" + v4, "2.0.192" + v4, "100.51.198" + v4, "113.0.203" + v4, "255.255.255.255" + v4,
		strings.Repeat("0.", 31) + "0" + v6, "1." + strings.Repeat("0.", 30) + "0" + v6, // :: and ::1
		"d.f" + v6, "8.e.f" + v6, "9.e.f" + v6, "a.e.f" + v6, "b.e.f" + v6, // unique and link-local
		"8.b.d.0.1.0.0.2" + v6, // 2001:db8::/32
	}
	for i := 16; i <= 31; i++ {
		all = append(all, fmt.Sprintf("%d.172%s", i, v4)) // RFC 1918
	}
	for i := 64; i <= 127; i++ {
		all = append(all, fmt.Sprintf("%d.100%s", i, v4)) // RFC 7793
	}
	return all
}

// canaries keep clients on the network's resolver where they do not exist: Firefox (DNS
// over HTTPS) and Apple (iCloud Private Relay).
var canaries = []string{"use-application-dns.net.", "mask.icloud.com.", "mask-h2.icloud.com."}
