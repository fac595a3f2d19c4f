package check

import (
	"bufio"
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
)

// checkDHCP checks that the DHCP server on this box announces this box as the resolver.
// The queries of clients that use another one do not pass through nameroute.
func (h *host) checkDHCP(r *report) {
	h.checkDnsmasq(r)
	for _, k := range []struct{ file, option string }{
		{"/etc/kea/kea-dhcp4.conf", "domain-name-servers"}, {"/etc/kea/kea-dhcp6.conf", "dns-servers"},
	} {
		text, ok := h.Read(k.file)
		if !ok {
			continue
		}
		servers, subnets := keaServers(text, k.option)
		switch {
		case subnets == 0:
		case len(servers) == 0:
			r.warn("%s announces no resolver: add to option-data: { \"name\": %q, \"data\": \"ADDRESS\" }, with this box's address in the LAN", k.file, k.option)
		default:
			h.checkAnnounced(r, k.file, servers, "set "+k.option+" to this box's address in the LAN")
		}
	}
}

// checkAnnounced warns of announced resolvers that are not this box.
func (h *host) checkAnnounced(r *report, file string, servers []string, remedy string) {
	for _, s := range servers {
		a, err := netip.ParseAddr(s)
		if err == nil && !a.IsUnspecified() && !h.own[a] { // dnsmasq announces its own address for 0.0.0.0 and ::
			r.warn("%s announces %s as the LAN's resolver, which is not this box: its clients' queries bypass nameroute: %s", file, a, remedy)
			return
		}
	}
}

// checkDnsmasq checks what dnsmasq announces.
func (h *host) checkDnsmasq(r *report) {
	var d dnsmasq
	files := append([]string{"/etc/dnsmasq.conf"}, h.Glob("/etc/dnsmasq.d/*")...)
	for _, f := range append(files, h.Glob("/var/etc/dnsmasq.conf*")...) { // OpenWrt's
		if text, ok := h.Read(f); ok {
			d.parse(f, text)
		}
	}
	const remedy = "dhcp-option=option:dns-server,0.0.0.0 and dhcp-option=option6:dns-server,[::] announce this box"
	switch {
	case d.ranges == "":
	case len(d.servers) == 0 && d.noDNS:
		r.warn("%s: dnsmasq assigns addresses but announces no resolver, because port=0 turns its own off: %s", d.ranges, remedy)
	default:
		h.checkAnnounced(r, d.from, d.servers, remedy)
	}
}

// dnsmasq is the part of its configuration that is about DHCP.
type dnsmasq struct {
	ranges  string   // the file that makes it a DHCP server; "" where none does
	noDNS   bool     // its port is not 53, so it does not announce itself
	servers []string // that it announces
	from    string   // the file that names them
}

// parse reads one file of its configuration.
func (d *dnsmasq) parse(file, text string) {
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		l, _, _ := strings.Cut(lines.Text(), "#")
		key, value, _ := strings.Cut(strings.TrimSpace(l), "=")
		value = strings.TrimSpace(value)
		switch strings.TrimSpace(key) {
		case "dhcp-range":
			d.ranges = file
		case "port":
			d.noDNS = value != "53"
		case "dhcp-option", "dhcp-option-force":
			if servers := optionServers(value); servers != nil {
				d.servers, d.from = append(d.servers, servers...), file
			}
		}
	}
}

// optionServers returns the addresses of `6,ADDRESS`, `tag:x,option:dns-server,ADDRESS`
// and the like for IPv6, and nil for other options.
func optionServers(value string) []string {
	parts := strings.Split(value, ",")
	for i, p := range parts {
		p = strings.TrimSpace(p)
		if p != "6" && p != "option:dns-server" && p != "option6:dns-server" && p != "option6:23" {
			if strings.HasPrefix(p, "tag:") || strings.HasPrefix(p, "set:") || strings.HasPrefix(p, "net:") {
				continue
			}
			return nil
		}
		servers := []string{}
		for _, s := range parts[i+1:] {
			servers = append(servers, strings.Trim(strings.TrimSpace(s), "[]"))
		}
		return servers
	}
	return nil
}

// keaServers returns the resolvers that a Kea configuration announces, and the number of
// its subnets. A file that cannot be parsed has none.
func keaServers(text, option string) (servers []string, subnets int) {
	var all any
	if json.Unmarshal([]byte(withoutComments(text)), &all) != nil {
		return nil, 0
	}
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, e := range v {
				walk(e)
			}
		case map[string]any:
			if v["name"] == option {
				if data, ok := v["data"].(string); ok {
					for s := range strings.SplitSeq(data, ",") {
						servers = append(servers, strings.TrimSpace(s))
					}
				}
			}
			for key, e := range v {
				if list, ok := e.([]any); ok && (key == "subnet4" || key == "subnet6") {
					subnets += len(list)
				}
				walk(e)
			}
		}
	}
	walk(all)
	slices.Sort(servers)
	return servers, subnets
}

// withoutComments removes the comments of Kea's JSON: #, // and /* */.
func withoutComments(text string) string {
	var b strings.Builder
	for i := 0; i < len(text); {
		rest := text[i:]
		switch {
		case rest[0] == '"':
			n := stringEnd(rest)
			b.WriteString(rest[:n])
			i += n
		case rest[0] == '#', strings.HasPrefix(rest, "//"):
			n := strings.IndexByte(rest, '\n')
			if n < 0 {
				return b.String()
			}
			i += n
		case strings.HasPrefix(rest, "/*"):
			n := strings.Index(rest[2:], "*/")
			if n < 0 {
				return b.String()
			}
			i += n + 4
		default:
			b.WriteByte(rest[0])
			i++
		}
	}
	return b.String()
}

// stringEnd returns the length of the JSON string at the beginning of a text.
func stringEnd(s string) int {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(s)
}
