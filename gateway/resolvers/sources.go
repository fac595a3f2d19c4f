package resolvers

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/nameroute/nameroute/gateway/pkg/statefile"
)

// resolvConf is the file that the C library reads. On a former dnsmasq router it names
// only the box.
const resolvConf = "/etc/resolv.conf"

// sources are the places that resolvers are recorded in, in the order in which they are
// consulted: what the box itself uses, then what daemons wrote since boot, then what
// outlives a boot and may be old.
var sources = []source{
	{[]string{resolvConf}, parseResolvConf},
	{[]string{"/run/systemd/resolve/resolv.conf"}, parseResolvConf},
	{[]string{"/run/NetworkManager/no-stub-resolv.conf"}, parseResolvConf},
	{[]string{"/run/NetworkManager/resolv.conf"}, parseResolvConf},
	{[]string{"/tmp/resolv.conf.d/resolv.conf.auto", "/tmp/resolv.conf.auto"}, parseResolvConf}, // OpenWrt's netifd
	// dhcpcd, with DHCP, DHCPv6 and router advertisements, as its hook records them.
	{[]string{"/run/dhcpcd/hook-state/resolv.conf/*", "/run/dhcpcd/resolv.conf/*", "/run/dhcpcd/resolv.conf"}, perLink(parseResolvConf)},
	// Debian's resolvconf and openresolv.
	{[]string{"/run/resolvconf/interface/*", "/run/resolvconf/interfaces/*", "/run/resolvconf/keys/*"}, perLink(parseResolvConf)},
	{[]string{"/run/dnsmasq/resolv.conf"}, parseResolvConf}, // resolvconf wrote it for dnsmasq
	{[]string{"/run/rdnssd/resolv.conf"}, parseResolvConf},  // RDNSS of router advertisements
	{[]string{"/run/pppd/resolv.conf"}, ofPPP},
	{[]string{"/var/lib/dhcp/dhclient*.leases", "/var/lib/dhclient/*.lease*"}, parseLeases},
	{[]string{"/etc/ppp/resolv.conf"}, ofPPP},
}

// entry is one resolver in one of the files.
type entry struct {
	file string
	line int
	addr netip.Addr
	link string // the interface that it was learned on; "": the file does not say
}

// String returns the entry as an error quotes it.
func (e entry) String() string { return fmt.Sprintf("%s:%d: nameserver %s", e.file, e.line, e.addr) }

// source is one kind of record.
type source struct {
	patterns []string // of files, as in path/filepath
	parse    func(file string, text []byte) []entry
}

// maxFile bounds what is read of a file, in bytes. dhclient appends to its leases; the
// last ones are those that count.
const maxFile = 64 << 10

func (s source) read(root string) []entry {
	var all []entry
	for _, p := range s.patterns {
		files, _ := filepath.Glob(root + p) // the patterns are ours and well formed
		for _, f := range files {
			if text, err := readTail(f, strings.HasPrefix(p, "/tmp/")); err == nil { // most systems have only one or two of them
				all = append(all, s.parse(strings.TrimPrefix(f, root), text)...)
			}
		}
	}
	return all
}

// readTail reads the end of a regular file. In a directory that everybody may write to,
// the file must be ours or root's: it decides where queries are sent.
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

// parseResolvConf reads resolv.conf(5).
func parseResolvConf(file string, text []byte) []entry {
	var all []entry
	lines := bufio.NewScanner(bytes.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		words := strings.Fields(lines.Text())
		if len(words) < 2 || words[0] != "nameserver" {
			continue
		}
		if a, err := netip.ParseAddr(words[1]); err == nil {
			all = append(all, entry{file: file, line: n, addr: a.Unmap()})
		}
	}
	return all
}

// perLink parses files that are named INTERFACE or INTERFACE.PROTOCOL.
func perLink(parse func(string, []byte) []entry) func(string, []byte) []entry {
	return func(file string, text []byte) []entry {
		all := parse(file, text)
		for i := range all {
			all[i].link = linkOf(filepath.Base(file))
		}
		return all
	}
}

// programs are the last words of the names that resolvconf and dhcpcd give to records.
// What follows another dot is a VLAN: eth0.100.
var programs = []string{"dhclient", "dhcp", "dhcp6", "ra", "ipv4ll", "inet", "inet6", "udhcpc", "pppd", "ppp", "openvpn", "dnsmasq", "named", "unbound", "rdnssd", "static"}

func linkOf(name string) string {
	if name == "NetworkManager" || name == "systemd-resolved" || strings.HasPrefix(name, "original.") {
		return ""
	}
	if i := strings.LastIndexByte(name, '.'); i > 0 && slices.Contains(programs, name[i+1:]) {
		return name[:i]
	}
	return name
}

// ofPPP parses what pppd recorded, which does not say for which of its interfaces.
func ofPPP(file string, text []byte) []entry {
	all := parseResolvConf(file, text)
	for i := range all {
		all[i].link = "ppp0"
	}
	return all
}

// parseLeases reads dhclient.leases(5): the last lease of an interface counts, if it has
// not expired.
func parseLeases(file string, text []byte) []entry {
	leases := map[string][]entry{} // by interface and family
	var keys []string
	var lease struct {
		link, family string
		expired      bool
		servers      []entry
	}
	lines := bufio.NewScanner(bytes.NewReader(text))
	depth := 0
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSuffix(strings.TrimSpace(lines.Text()), ";")
		words := strings.Fields(strings.ReplaceAll(line, ",", " "))
		switch {
		case strings.HasSuffix(line, "{"):
			if depth++; depth == 1 {
				lease.link, lease.family, lease.expired, lease.servers = "", words[0], false, nil
			}
		case line == "}" && depth > 0:
			if depth--; depth > 0 {
				continue
			}
			key := lease.family + " " + lease.link
			if !slices.Contains(keys, key) {
				keys = append(keys, key)
			}
			if lease.expired {
				lease.servers = nil
			}
			leases[key] = lease.servers
		case len(words) == 2 && words[0] == "interface":
			lease.link = strings.Trim(words[1], `"`)
		case len(words) >= 2 && words[0] == "expire":
			lease.expired = hasPassed(words[1:])
		case len(words) > 2 && words[0] == "option" && (words[1] == "domain-name-servers" || words[1] == "dhcp6.name-servers"):
			for _, w := range words[2:] {
				if a, err := netip.ParseAddr(w); err == nil {
					lease.servers = append(lease.servers, entry{file: file, line: n, addr: a.Unmap(), link: lease.link})
				}
			}
		}
	}
	var all []entry
	for _, k := range keys {
		all = append(all, leases[k]...)
	}
	return all
}

// hasPassed reads a time of dhclient.leases(5): `WEEKDAY YYYY/MM/DD HH:MM:SS` in UTC,
// `epoch SECONDS` or `never`.
func hasPassed(words []string) bool {
	switch {
	case words[0] == "epoch" && len(words) > 1:
		s, err := strconv.ParseInt(words[1], 10, 64)
		return err == nil && time.Unix(s, 0).Before(time.Now())
	case len(words) > 2:
		t, err := time.Parse("2006/01/02 15:04:05", words[1]+" "+words[2])
		return err == nil && t.Before(time.Now())
	}
	return false
}
