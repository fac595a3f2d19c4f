package setup

import (
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/hostfs"
)

// leaseFiles are the lease files of dnsmasq and Kea.
var leaseFiles = []string{
	"/var/lib/misc/dnsmasq.leases", "/var/lib/dnsmasq/dnsmasq.leases", "/tmp/dhcp.leases",
	"/var/lib/kea/kea-leases4.csv", "/var/lib/kea/kea-leases6.csv",
}

// dnsmasqDomain matches the option that sets the domain of dnsmasq's clients.
var dnsmasqDomain = regexp.MustCompile(`(?m)^\s*domain\s*=\s*([A-Za-z0-9][A-Za-z0-9.-]*)`)

// detectLocalNames finds where local names come from: DHCP leases and the hosts file.
func (b *box) detectLocalNames(h hostfs.Root) {
	for _, f := range leaseFiles {
		if h.Exists(f) {
			b.leases = append(b.leases, f)
		}
	}
	if slices.Contains(b.leases, "/tmp/dhcp.leases") && h.Exists("/run/systemd/system") {
		b.notes = append(b.notes, "/tmp/dhcp.leases: the systemd units have a private /tmp: move dnsmasq's leases (dhcp-leasefile=)")
	}
	b.domain = "lan"
	for _, f := range append([]string{"/etc/dnsmasq.conf"}, h.Glob("/etc/dnsmasq.d/*.conf")...) {
		text, _ := h.Read(f)
		if m := dnsmasqDomain.FindStringSubmatch(text); m != nil {
			b.domain = strings.ToLower(strings.Trim(m[1], "."))
		}
	}
	hosts, _ := h.Read("/etc/hosts")
	hostname, err := os.Hostname()
	if err == nil && loopbackIn(hosts, hostname) {
		b.notes = append(b.notes, "/etc/hosts gives "+hostname+" a loopback address, which clients would get too: use this box's address in the LAN")
	}
}

// loopbackIn reports whether a hosts file gives a name an address of 127.0.0.0/8 or ::1,
// as Debian's installer does.
func loopbackIn(hosts, name string) bool {
	for line := range strings.Lines(hosts) {
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(line)
		if len(words) > 1 && (strings.HasPrefix(words[0], "127.") || words[0] == "::1") && slices.Contains(words[1:], name) && name != "localhost" {
			return true
		}
	}
	return false
}
