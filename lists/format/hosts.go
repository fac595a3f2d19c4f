package format

import (
	"io"
	"net/netip"
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
		_, err := netip.ParseAddr(f[0])
		return err == nil
	})
}

func (hosts) parse(r io.Reader, s *Sink) error {
	return eachLine(r, s, "#", func(line string) { hostsLine(line, s) })
}

func hostsLine(line string, s *Sink) {
	text, _, _ := strings.Cut(line, "#")
	fields := strings.Fields(text)
	if _, err := netip.ParseAddr(fields[0]); err != nil || len(fields) < 2 {
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
