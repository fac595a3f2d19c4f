// Package provider reads the wg-quick(8) files that VPN providers give their customers.
// It is the only reader of them: a Store remembers the last good copy of each route's
// file, so that a file that turns bad changes nothing in any part of the program.
package provider

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/nameroute/nameroute/gateway/pkg/problem"
	"github.com/nameroute/nameroute/gateway/pkg/statefile"
)

// maxConfSize bounds a provider's file, in bytes. Real ones have a few hundred;
// long AllowedIPs lists reach some ten thousand.
const maxConfSize = 1 << 20

// minMTUv6 is the smallest MTU on which a link carries IPv6 (RFC 8200 section 5);
// below it the kernel removes IPv6 from the link.
const minMTUv6 = 1280

// KeepaliveOff is the Peer.Keepalive of a file that has off or 0, which differs from
// that of a file without the key.
const KeepaliveOff time.Duration = -1

// Conf is a provider's wg-quick file, checked. It is immutable once parsed. It
// holds secret keys, so it is never printed.
type Conf struct {
	File          string
	PrivateKey    wgtypes.Key
	ListenPort    int // UDP port; 0 leaves the choice to the kernel
	Addresses     []netip.Prefix
	DNS           []netip.Addr
	SearchDomains []string
	MTU           int // bytes; 0 where the file has none
	Peers         []Peer
	Ignored       problem.Problems // settings that are read and not used
	Hooks         problem.Problems // hook commands, which are never run
}

// Peer is the other end of a tunnel as the file describes it.
type Peer struct {
	Line         int // of its [Peer]
	PublicKey    wgtypes.Key
	PresharedKey wgtypes.Key    // zero: none
	Endpoint     Endpoint       // zero: the peer has to find us
	AllowedIPs   []netip.Prefix // disjoint from those of the other peers
	Keepalive    time.Duration  // 0 where the file has none; KeepaliveOff where it turns keepalives off
}

// Endpoint is where a peer is reached.
type Endpoint struct {
	Host string // an address without brackets, or a name
	Port uint16
}

// Addr returns the endpoint's address; ok is false where the host is a name.
func (e Endpoint) Addr() (addr netip.AddrPort, ok bool) {
	a, err := netip.ParseAddr(e.Host)
	return netip.AddrPortFrom(a.Unmap(), e.Port), err == nil
}

// String returns the endpoint as the file has it.
func (e Endpoint) String() string { return net.JoinHostPort(e.Host, strconv.Itoa(int(e.Port))) }

// IsZero reports whether the file gives no endpoint.
func (e Endpoint) IsZero() bool { return e == Endpoint{} }

// Load reads and checks a file, without any last good copy. Its error is
// problem.Problems, or says why the file could not be read.
func Load(file string) (*Conf, error) {
	data, err := readFile(file)
	if err != nil {
		return nil, err
	}
	return Parse(file, data)
}

// readFile reads at most one byte more than a file may have. It refuses what is not a
// regular file: reading a pipe would wait for a writer.
func readFile(file string) ([]byte, error) {
	f, err := statefile.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxConfSize+1))
	if err != nil {
		return nil, fmt.Errorf("read provider file: %w", err)
	}
	return data, nil
}

// Families reports for which address families the tunnel can carry packets: the
// file has an Address and an AllowedIPs of the family, and an MTU that allows it.
func (c *Conf) Families() (v4, v6 bool) {
	var have4, have6, go4, go6 bool
	for _, a := range c.Addresses {
		have4, have6 = have4 || a.Addr().Is4(), have6 || a.Addr().Is6()
	}
	for _, p := range c.Peers {
		for _, a := range p.AllowedIPs {
			go4, go6 = go4 || a.Addr().Is4(), go6 || a.Addr().Is6()
		}
	}
	return have4 && go4, have6 && go6 && (c.MTU == 0 || c.MTU >= minMTUv6)
}

// Resolvers returns the file's resolvers with their port.
func (c *Conf) Resolvers() []netip.AddrPort {
	var all []netip.AddrPort
	for _, a := range c.DNS {
		all = append(all, netip.AddrPortFrom(a, 53))
	}
	return all
}

// CheckHooks refuses a file with hook commands, unless they are to be ignored. A
// provider's commands would run as root and undo what the gateway itself sets up.
func (c *Conf) CheckHooks(ignore bool) error {
	if ignore || len(c.Hooks) == 0 {
		return nil
	}
	return c.Hooks
}
