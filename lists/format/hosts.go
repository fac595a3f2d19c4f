package format

import (
	"io"
	"net/netip"
	"strconv"
	"strings"

	"github.com/nameroute/nameroute/lists/entry"
)

// hosts is hosts(5): an address and its names. The address is not used; each name is an entry
// on that name alone.
type hosts struct{}

const reasonHosts = "not an address followed by names"

func (hosts) name() string { return "hosts" }

func (hosts) suits(file string) bool { return file == "hosts" || strings.HasPrefix(file, "hosts.") }

func (hosts) sniff(head []byte) int {
	return countLines(head, func(line string) bool {
		f := strings.Fields(line)
		if len(f) < 2 || f[1][0] == '#' {
			return false
		}
		return isHostsAddress(f[0])
	})
}

func (hosts) parse(r io.Reader, s *Sink) error {
	return eachLine(r, s, "#", func(line string) { hostsLine(line, s) })
}

func hostsLine(line string, s *Sink) {
	text, _, _ := strings.Cut(line, "#")
	fields := strings.Fields(text)
	if !isHostsAddress(fields[0]) || len(fields) < 2 {
		s.skip(line, reasonHosts)
		return
	}
	for _, f := range fields[1:] {
		if isLocal(f) {
			continue
		}
		name, reason := entry.CanonicalName(f)
		if reason != "" {
			s.skip(line, reason)
			continue
		}
		s.put(entry.Entry{Kind: entry.Full, Text: name})
	}
}

// isHostsAddress accepts the short forms of IPv4 addresses of inet_aton(3) too, such as 0 and
// 127.1, as far as they are not a line's number.
func isHostsAddress(text string) bool {
	if text == "0" || text == "0x0" {
		return true
	}
	if _, err := netip.ParseAddr(text); err == nil {
		return true
	}
	parts := strings.Split(text, ".")
	for _, p := range parts {
		if n, err := strconv.ParseUint(p, 0, 32); err != nil || n > 255 {
			return false
		}
	}
	return len(parts) > 1 && len(parts) < 4
}

// isLocal reports whether a name is one that every hosts file has for the machine itself.
func isLocal(name string) bool {
	switch strings.ToLower(name) {
	case "localhost", "localhost.localdomain", "local", "broadcasthost", "0.0.0.0",
		"localhost4", "localhost4.localdomain4", "localhost6", "localhost6.localdomain6",
		"ip6-localhost", "ip6-loopback", "ip6-localnet", "ip6-mcastprefix",
		"ip6-allnodes", "ip6-allrouters", "ip6-allhosts":
		return true
	}
	return false
}
