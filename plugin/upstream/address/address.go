// Package address reads the addresses of resolvers as the Corefile has them.
package address

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/miekg/dns"
)

// Transport is how a resolver is queried, by its scheme in the Corefile.
type Transport string

// The transports.
const (
	UDP   Transport = "dns"   // and TCP for truncated replies
	TCP   Transport = "tcp"   // RFC 7766
	TLS   Transport = "tls"   // RFC 7858
	HTTPS Transport = "https" // RFC 8484, over HTTP/2
	HTTP3 Transport = "h3"    // RFC 8484, over HTTP/3
	QUIC  Transport = "quic"  // RFC 9250
)

// schemes lists what may stand before ://, for messages.
const schemes = "dns://, tcp://, tls://, https://, h3://, quic:// or sdns://"

// defaultPath is what nearly every resolver uses, and CoreDNS does.
const defaultPath = "/dns-query"

// Encrypted reports whether the resolver shows a certificate.
func (t Transport) Encrypted() bool { return t != UDP && t != TCP }

// HTTP reports whether queries are HTTP requests.
func (t Transport) HTTP() bool { return t == HTTPS || t == HTTP3 }

// Multiplexed reports whether each query has a stream of its own on a connection.
func (t Transport) Multiplexed() bool { return t.HTTP() || t == QUIC }

// port is the transport's default port.
func (t Transport) port() uint16 {
	switch t {
	case TLS, QUIC:
		return 853 // RFC 7858, section 3.1; RFC 9250, section 4.1.1
	case HTTPS, HTTP3:
		return 443
	}
	return 53
}

// Address is one resolver of the Corefile. It is comparable.
type Address struct {
	Transport Transport
	Addr      netip.AddrPort // only the port where Host is to be looked up
	Host      string         // the name that is looked up for the address; "" where the address is given
	Name      string         // that the certificate must hold; "" means the address
	Path      string         // of HTTPS and HTTP3
	Hashes    string         // of the certificates of a stamp, 32 bytes each: one must be in the chain
}

// String prints the address in the Corefile's own notation, which is also its
// label in the metrics: 192.0.2.53:53, tls://192.0.2.53:853.
func (a Address) String() string {
	where := a.Addr.String()
	if a.Host != "" {
		where = a.Host + ":" + strconv.Itoa(int(a.Addr.Port()))
	}
	if a.Transport == UDP {
		return where
	}
	return string(a.Transport) + "://" + where + a.Path
}

// Same reports whether both are one resolver: only what its certificate must hold may differ.
func (a Address) Same(b Address) bool {
	a.Name, a.Hashes, b.Name, b.Hashes = "", "", "", ""
	return a == b
}

// Parse parses one address. The error says what would be right; the caller adds
// file and line.
func Parse(s string) (Address, error) {
	scheme, rest, found := strings.Cut(s, "://")
	if !found {
		if strings.HasPrefix(s, "sdns:") {
			return parseStamp(s)
		}
		scheme, rest = string(UDP), s
	}
	a := Address{Transport: Transport(scheme)}
	var err error
	switch a.Transport {
	case UDP, TCP:
		a.Addr, err = parseAddrPort(rest, a.Transport.port())
		err = notAnAddress(rest, err)
	case TLS, QUIC:
		err = a.encrypted(rest)
	case HTTPS, HTTP3:
		where, path, has := strings.Cut(rest, "/")
		if a.Path = defaultPath; has {
			a.Path, err = checkPath("/" + path)
		}
		if err == nil {
			err = a.encrypted(where)
		}
	case "sdns":
		return parseStamp(s)
	default:
		err = fmt.Errorf("unknown scheme %s://: want %s", scheme, schemes)
	}
	if err != nil {
		return Address{}, fmt.Errorf("address %s: %w", s, err)
	}
	return a, nil
}

// ParsePlain parses the addresses of resolvers that are asked for names, in the clear: one
// that needed a certificate would need a name.
func ParsePlain(args []string) ([]netip.AddrPort, error) {
	if len(args) == 0 {
		return nil, errors.New("no address: want bootstrap with one address or more")
	}
	var all []netip.AddrPort
	for _, arg := range args {
		a, err := Parse(arg)
		if err != nil {
			return nil, err
		}
		if a.Transport != UDP {
			return nil, fmt.Errorf("address %s: resolvers' names are looked up in the clear: want an IP address without %s://", arg, a.Transport)
		}
		all = append(all, a.Addr)
	}
	return all, nil
}

// encrypted parses ADDRESS[%NAME][:PORT] or NAME[:PORT].
func (a *Address) encrypted(s string) error {
	where, name, err := cutName(a.Transport, s)
	if err != nil {
		return err
	}
	if a.Addr, err = parseAddrPort(where, a.Transport.port()); err == nil {
		a.Name = name
		return nil
	}
	if !errors.Is(err, errNoAddress) || strings.HasPrefix(where, "/") {
		return notAnAddress(where, err)
	}
	if name != "" {
		return fmt.Errorf("%q before %% is not an IP address: want %s://ADDRESS%%%s, or %s://%[3]s to have the address looked up", where, a.Transport, name, a.Transport)
	}
	return a.named(where)
}

// named takes NAME[:PORT], whose address is looked up.
func (a *Address) named(s string) error {
	host, number, found := strings.Cut(s, ":")
	port := a.Transport.port()
	if found {
		n, err := strconv.ParseUint(number, 10, 16)
		if err != nil || n == 0 {
			return fmt.Errorf("%q is not a port: want a number from 1 to 65535", number)
		}
		port = uint16(n)
	}
	host = strings.TrimSuffix(host, ".")
	if !isHost(host) {
		return fmt.Errorf("%q is neither an IP address nor a name: want %s://192.0.2.53%%dns.example.org or %[2]s://dns.example.org", s, a.Transport)
	}
	a.Host, a.Name, a.Addr = strings.ToLower(host), host, netip.AddrPortFrom(netip.Addr{}, port)
	return nil
}

// isHost reports whether a name can be that of a resolver: two labels at least, which are
// not those of an address that is written wrongly.
func isHost(s string) bool {
	if _, ok := dns.IsDomainName(s); !ok || !strings.Contains(s, ".") || strings.Trim(s, "0123456789.") == "" {
		return false
	}
	return strings.Trim(strings.ToLower(s), "abcdefghijklmnopqrstuvwxyz0123456789-_.") == ""
}

// checkPath accepts the path of a URL, which may have a query.
func checkPath(path string) (string, error) {
	if plain, _, found := strings.Cut(path, "{"); found {
		return "", fmt.Errorf("the path %s is a template: want %s, because queries are sent by POST", path, plain)
	}
	for _, c := range []byte(path) {
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`"<>\^`+"`{|}#", c) >= 0 {
			return "", fmt.Errorf("the path %q holds %q: want it percent-encoded, as in a URL", path, string(rune(c)))
		}
	}
	return path, nil
}

// cutName splits the server's name off ADDRESS%NAME and ADDRESS%NAME:PORT, the notation
// of forward. The address of an encrypted resolver therefore has no IPv6 zone.
func cutName(t Transport, s string) (rest, name string, err error) {
	rest, name, found := strings.Cut(s, "%")
	if !found {
		return s, "", nil
	}
	// [2001:db8::53%dns.example.org]:853 and [2001:db8::53]%dns.example.org:853
	name, port, _ := strings.Cut(name, ":")
	if strings.HasPrefix(rest, "[") && !strings.HasSuffix(rest, "]") {
		if !strings.HasSuffix(name, "]") {
			return "", "", fmt.Errorf("unclosed bracket: want %s://[ADDRESS%%NAME]:PORT", t)
		}
		name, rest = strings.TrimSuffix(name, "]"), rest+"]"
	}
	if _, ok := dns.IsDomainName(name); !ok || name == "" {
		return "", "", fmt.Errorf("%q after %% is not a server name: want %s://ADDRESS%%NAME", name, t)
	}
	if strings.Trim(port, "0123456789") != "" {
		return "", "", fmt.Errorf("%q after the name is not a port: want %s://ADDRESS%%NAME:PORT", port, t)
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

// notAnAddress explains what to write instead of what is no address.
func notAnAddress(s string, err error) error {
	if !errors.Is(err, errNoAddress) {
		return err
	}
	if strings.HasPrefix(s, "/") {
		return errors.New("a file, not an IP address; leave the addresses out to use the route's own resolvers, and for wan the system's")
	}
	if host, _, _ := strings.Cut(s, ":"); isHost(host) {
		return fmt.Errorf("a name, not an IP address: want the resolver's IP address, or tls://%s or https://%[1]s if it speaks one of these", host)
	}
	return fmt.Errorf("%w: want 192.0.2.53, 192.0.2.53:5353, [2001:db8::53]:53 or tls://192.0.2.53%%dns.example.org", err)
}
