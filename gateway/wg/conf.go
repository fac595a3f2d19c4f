package wg

import (
	"fmt"
	"io"
	"net/netip"
	"os"
	"strconv"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// maxConfSize bounds a provider's file, in bytes. Real ones have a few hundred;
// long AllowedIPs lists reach some ten thousand.
const maxConfSize = 1 << 20

// minMTUv6 is the smallest MTU on which a link carries IPv6 (RFC 8200 section 5);
// below it the kernel takes IPv6 off the link.
const minMTUv6 = 1280

// KeepaliveOff is the Peer.Keepalive of a file that says off or 0, which is not
// the same as a file that says nothing.
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
	Ignored       []Note // settings that are read and not used
	Hooks         []Note // hook commands, which are never run
}

// Peer is the other end of a tunnel as the file describes it.
type Peer struct {
	Line         int // of its [Peer]
	PublicKey    wgtypes.Key
	PresharedKey wgtypes.Key // zero: none
	Endpoint     Endpoint    // zero: the peer has to find us
	AllowedIPs   []netip.Prefix
	Keepalive    time.Duration // 0 where the file has none; KeepaliveOff where it says so
}

// Endpoint is where a peer is reached.
type Endpoint struct {
	Host string // an address without brackets, or a name
	Port uint16
}

// Addr is the endpoint's address; ok is false where the host is a name.
func (e Endpoint) Addr() (addr netip.AddrPort, ok bool) {
	a, err := netip.ParseAddr(e.Host)
	return netip.AddrPortFrom(a.Unmap(), e.Port), err == nil
}

// IsZero reports whether the file gives no endpoint.
func (e Endpoint) IsZero() bool { return e == Endpoint{} }

// Note is a line of the file that has no effect, and why.
type Note struct {
	File  string
	Line  int
	Key   string
	Value string
	Why   string
}

// String prints the note as file:line: key: "value": why.
func (n Note) String() string {
	return fmt.Sprintf("%s:%d: %s: %s: %s", n.File, n.Line, n.Key, strconv.Quote(n.Value), n.Why)
}

// Load reads and checks a file. Its error is a *ConfError, or says why the file
// could not be read.
func Load(file string) (*Conf, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxConfSize+1))
	if err != nil {
		return nil, err
	}
	return ParseConf(file, data)
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

// CheckHooks refuses a file with hook commands, unless they are to be ignored. A
// provider's commands would run as root and undo what the gateway itself sets up.
func (c *Conf) CheckHooks(ignore bool) error {
	if ignore || len(c.Hooks) == 0 {
		return nil
	}
	e := new(ConfError)
	for _, h := range c.Hooks {
		e.Problems = append(e.Problems, Problem{
			File: h.File, Line: h.Line, Key: h.Key, Got: strconv.Quote(h.Value), Want: h.Why,
		})
	}
	return e
}
