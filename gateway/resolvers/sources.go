package resolvers

import (
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/nameroute/nameroute/gateway/pkg/ownaddrs"
	"github.com/nameroute/nameroute/gateway/pkg/statefile"
)

// resolvConf is the file that the C library reads. It names what all links were given
// together, or, on a router with a resolver of its own, only the box.
const resolvConf = "/etc/resolv.conf"

// sources are the places that resolvers are recorded in, in the order in which they are
// consulted: what says which interface it is about, then what does not, and of each what
// was written since boot before what outlives one and may be old.
var sources = []source{
	{"systemd-networkd", []string{"/run/systemd/netif/links/*"}, byIndex("DNS")},
	{"systemd-networkd", []string{"/run/systemd/netif/leases/*"}, byIndex("DNS")},
	{"systemd-resolved", []string{"/run/systemd/resolve/netif/*"}, byIndex("SERVERS")},
	{"NetworkManager", []string{"/run/NetworkManager/devices/*"}, (*box).deviceOfNetworkManager},
	// dhcpcd, with DHCP, DHCPv6 and router advertisements, as its hook records them.
	{"dhcpcd", []string{"/run/dhcpcd/hook-state/resolv.conf/*", "/run/dhcpcd/resolv.conf/*"}, (*box).byName},
	// Debian's resolvconf and openresolv.
	{"resolvconf", []string{"/run/resolvconf/interface/*", "/run/resolvconf/interfaces/*", "/run/resolvconf/keys/*"}, (*box).byName},
	{"netifd", []string{"/tmp/resolv.conf.d/resolv.conf.auto", "/tmp/resolv.conf.auto"}, (*box).ofOpenWrt},
	{"pppd", []string{"/run/ppp/resolv.conf", "/run/pppd/resolv.conf", "/etc/ppp/resolv.conf"}, (*box).ofPPP},
	{"dhclient", []string{"/var/lib/dhcp/dhclient*.leases", "/var/lib/dhclient/*.lease*", "/var/lib/NetworkManager/dhclient*.lease"}, (*box).ofDHClient},
	{"router advertisements", []string{AdvertisedFile}, (*box).ofAdvertisements},
	// Without an interface, unless a line names one.
	{"systemd-resolved", []string{"/run/systemd/resolve/resolv.conf"}, (*box).ofResolvConf},
	{"NetworkManager", []string{"/run/NetworkManager/no-stub-resolv.conf"}, (*box).ofNetworkManager},
	{"NetworkManager", []string{"/run/NetworkManager/resolv.conf"}, (*box).ofNetworkManager},
	{"dhcpcd", []string{"/run/dhcpcd/resolv.conf"}, (*box).ofResolvConf},
	{"resolvconf", []string{"/run/dnsmasq/resolv.conf"}, (*box).ofResolvConf}, // resolvconf wrote it for dnsmasq
	{"rdnssd", []string{"/run/rdnssd/resolv.conf"}, (*box).ofResolvConf},      // RDNSS of router advertisements
	{"resolv.conf", []string{resolvConf}, (*box).ofResolvConf},
}

// source is one kind of record.
type source struct {
	program  string
	patterns []string // of files, as in path/filepath
	parse    func(b *box, file string, text []byte) []entry
}

// entry is one resolver in one of the files.
type entry struct {
	file    string
	line    int
	server  netip.AddrPort
	link    string // the interface that it was given to; "": the file does not say
	program string // that wrote it
	rank    int    // of the source
}

// String returns the entry as an error quotes it.
func (e entry) String() string {
	return fmt.Sprintf("%s:%d: nameserver %s", e.file, e.line, e.server.Addr())
}

// from says where the entry is from.
func (e entry) from() string {
	if e.link == "" {
		return e.file
	}
	return fmt.Sprintf("%s on %s, %s", e.program, e.link, e.file)
}

// box is what is recorded on a box at one moment.
type box struct {
	root    string              // before every path, for tests
	links   map[int]string      // the names of its interfaces
	own     map[netip.Addr]bool // its addresses
	entries []entry             // in the order of the sources
}

// read reads the records of this box, below a root directory.
func read(root string) (*box, error) {
	own, err := ownaddrs.Read()
	if err != nil {
		return nil, err
	}
	links, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("ip link: %w", err)
	}
	b := &box{root: root, own: own, links: map[int]string{}}
	for _, l := range links {
		b.links[l.Index] = l.Name
	}
	b.readAll()
	return b, nil
}

func (b *box) readAll() {
	for rank, s := range sources {
		for _, e := range b.readSource(s) {
			e.program, e.rank = s.program, rank
			b.entries = append(b.entries, e)
		}
	}
}

// Bounds of what is read. Of a file the end counts: dhclient appends to its leases.
const (
	maxFile  = 64 << 10 // bytes
	maxFiles = 256      // of one pattern
)

func (b *box) readSource(s source) []entry {
	var all []entry
	for _, p := range s.patterns {
		files, _ := filepath.Glob(b.root + p) // the patterns are ours and well formed
		for _, f := range files[:min(len(files), maxFiles)] {
			if text, err := readTail(f, strings.HasPrefix(p, "/tmp/")); err == nil { // most systems have only one or two of them
				all = append(all, s.parse(b, strings.TrimPrefix(f, b.root), text)...)
			}
		}
	}
	return all
}

// readTail reads the end of a regular file. In a world-writable directory the file must be ours or
// root's: it decides where queries are sent.
func readTail(name string, shared bool) ([]byte, error) {
	f, err := statefile.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if shared && !trusted(info) {
		return nil, fs.ErrPermission
	}
	return io.ReadAll(io.NewSectionReader(f, max(0, info.Size()-maxFile), maxFile))
}

func trusted(info fs.FileInfo) bool {
	s, ok := info.Sys().(*syscall.Stat_t)
	return ok && (s.Uid == 0 || int(s.Uid) == os.Geteuid()) && info.Mode().Perm()&0o022 == 0
}

// entryOf reads an address that a link was given, "" where the link is not known:
// ADDRESS, ADDRESS%ZONE, ADDRESS:PORT, [ADDRESS]:PORT, each with #NAME behind it where the
// resolver speaks TLS. The zone is the name or the number of an interface, and says the link.
func (b *box) entryOf(file string, line int, text, link string) (entry, bool) {
	text, _, _ = strings.Cut(text, "#")
	server, err := netip.ParseAddrPort(text)
	if err != nil {
		before, zone, zoned := strings.Cut(text, "%")
		if server, err = netip.ParseAddrPort(before); err != nil { // 192.0.2.1:53%2
			a, addrErr := netip.ParseAddr(before)
			if addrErr != nil {
				return entry{}, false
			}
			server = netip.AddrPortFrom(a, 53)
		}
		if zoned {
			server = netip.AddrPortFrom(server.Addr().WithZone(zone), server.Port())
		}
	}
	a := server.Addr().Unmap()
	zone := a.Zone()
	if n, err := strconv.Atoi(zone); err == nil {
		zone = b.links[n]
	}
	if a = a.WithZone(""); zone != "" && link == "" {
		link = zone
	}
	if a.Is6() && a.IsLinkLocalUnicast() {
		if zone == "" {
			zone = link
		}
		if a = a.WithZone(zone); zone == "" || zone != link {
			return entry{}, false // on which link?
		}
	}
	if a.IsMulticast() || server.Port() == 0 || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		return entry{}, false
	}
	return entry{file: file, line: line, server: netip.AddrPortFrom(a, server.Port()), link: link}, true
}

// has reports whether the box has an interface of a name.
func (b *box) has(link string) bool {
	for _, name := range b.links {
		if name == link && name != "" {
			return true
		}
	}
	return false
}
