package upstream

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/miekg/dns"
)

// transport is how a resolver is queried, by its name in addresses and metrics.
type transport string

const (
	overUDP transport = "dns" // UDP, and TCP for truncated replies
	overTCP transport = "tcp"
	overTLS transport = "tls" // RFC 7858
)

// Default ports.
const (
	plainPort = 53
	tlsPort   = 853 // RFC 7858, section 3.1
)

// address is one resolver of the Corefile. It is comparable.
type address struct {
	transport transport
	addr      netip.AddrPort
	name      string // overTLS: the name that the certificate must hold; "" means the address
}

// String prints the address in the Corefile's own notation, which is also its
// label in the metrics: 192.0.2.53:53, tls://192.0.2.53:853.
func (a address) String() string {
	if a.transport == overUDP {
		return a.addr.String()
	}
	return string(a.transport) + "://" + a.addr.String()
}

// parseAddress parses one ADDRESS. The error says what would be right; the caller adds
// file and line.
func parseAddress(s string) (address, error) {
	scheme, rest, found := strings.Cut(s, "://")
	if !found {
		scheme, rest = string(overUDP), s
	}
	a := address{transport: transport(scheme)}
	port := uint16(plainPort)
	switch a.transport {
	case overUDP, overTCP:
	case overTLS:
		port = tlsPort
		var err error
		if rest, a.name, err = cutName(rest); err != nil {
			return address{}, fmt.Errorf("address %s: %w", s, err)
		}
	default:
		return address{}, fmt.Errorf("address %s: %s", s, unsupported(scheme, rest))
	}
	addr, err := parseAddrPort(rest, port)
	if err != nil {
		return address{}, fmt.Errorf("address %s: %w", s, notAnAddress(a, rest, err))
	}
	a.addr = addr
	return a, nil
}

// cutName splits the server's name off ADDRESS%NAME and ADDRESS%NAME:PORT, the notation
// of forward. The address of a TLS resolver therefore has no IPv6 zone.
func cutName(s string) (rest, name string, err error) {
	rest, name, found := strings.Cut(s, "%")
	if !found {
		return s, "", nil
	}
	// [2001:db8::53%dns.example.org]:853 and [2001:db8::53]%dns.example.org:853
	name, port, _ := strings.Cut(name, ":")
	if strings.HasPrefix(rest, "[") && !strings.HasSuffix(rest, "]") {
		if !strings.HasSuffix(name, "]") {
			return "", "", errors.New("unclosed bracket: want tls://[ADDRESS%NAME]:PORT")
		}
		name, rest = strings.TrimSuffix(name, "]"), rest+"]"
	}
	if _, ok := dns.IsDomainName(name); !ok || name == "" {
		return "", "", fmt.Errorf("%q after %% is not a server name: want tls://ADDRESS%%NAME", name)
	}
	if port != "" {
		if strings.Contains(rest, ":") && !strings.HasPrefix(rest, "[") {
			rest = "[" + rest + "]"
		}
		rest += ":" + port
	}
	return rest, name, nil
}

// parseAddrPort parses an address with or without a port, IPv6 with or without brackets.
func parseAddrPort(s string, port uint16) (netip.AddrPort, error) {
	if ap, err := netip.ParseAddrPort(s); err == nil {
		if ap.Port() == 0 {
			return netip.AddrPort{}, errors.New("port 0 is not a valid port")
		}
		return checked(netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()))
	}
	bare := s
	if strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]") {
		bare = s[1 : len(s)-1]
	}
	a, err := netip.ParseAddr(bare)
	if err != nil {
		return netip.AddrPort{}, errNoAddress
	}
	return checked(netip.AddrPortFrom(a.Unmap(), port))
}

var errNoAddress = errors.New("not an IP address")

func checked(ap netip.AddrPort) (netip.AddrPort, error) {
	if a := ap.Addr(); a.IsUnspecified() || a.IsMulticast() {
		return netip.AddrPort{}, fmt.Errorf("%s is not the address of a resolver", a)
	}
	return ap, nil
}

// notAnAddress explains what to write instead of a name: a resolver's name could only
// be resolved by another resolver, in cleartext.
func notAnAddress(a address, rest string, err error) error {
	if !errors.Is(err, errNoAddress) {
		return err
	}
	if strings.HasPrefix(rest, "/") {
		return errors.New("a file, not an IP address; leave the addresses out to use the route's own resolvers, and for wan the system's")
	}
	host, _, _ := strings.Cut(rest, ":")
	if _, ok := dns.IsDomainName(host); !ok || host == "" || !strings.Contains(host, ".") || strings.Trim(host, "0123456789.") == "" {
		return fmt.Errorf("%w: want 192.0.2.53, 192.0.2.53:5353, [2001:db8::53]:53 or tls://192.0.2.53%%dns.example.org", err)
	}
	if a.transport == overTLS {
		return fmt.Errorf("a name, not an IP address: want tls://ADDRESS%%%s with the resolver's IP address", host)
	}
	return errors.New("a name, not an IP address: want the resolver's IP address")
}

// unsupported explains what to write instead of an unsupported scheme.
func unsupported(scheme, rest string) string {
	host, _, _ := strings.Cut(rest, "/")
	switch scheme {
	case "https", "h3", "quic":
		what := map[string]string{"https": "DNS over HTTPS", "h3": "DNS over HTTPS", "quic": "DNS over QUIC"}[scheme]
		if _, err := parseAddrPort(host, tlsPort); err != nil {
			host = "ADDRESS"
		}
		if h, _, found := strings.Cut(host, "]:"); found {
			host = h + "]"
		} else if strings.Count(host, ":") == 1 {
			host, _, _ = strings.Cut(host, ":")
		}
		return fmt.Sprintf("%s is not supported: want tls://%s%%NAME for DNS over TLS", what, host)
	}
	return fmt.Sprintf("unknown scheme %s://: want dns://, tcp:// or tls://", scheme)
}
