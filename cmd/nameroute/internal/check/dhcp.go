package check

import (
	"bufio"
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
)

// checkDHCP looks whether the DHCP server on this box announces this box as the
// resolver. Names of clients that ask another one are not seen.
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
			h.others(r, k.file, servers, "write this box's address in the LAN instead, as "+k.option)
		}
	}
}

// others warns of announced resolvers that are not this box.
func (h *host) others(r *report, file string, servers []string, remedy string) {
	for _, s := range servers {
		a, err := netip.ParseAddr(s)
		if err == nil && !a.IsUnspecified() && !h.own[a] { // unspecified: the box that dnsmasq runs on
			r.warn("%s announces %s as the LAN's resolver, which is not this box: names that its clients ask for are not seen: %s", file, a, remedy)
			return
		}
	}
}

func (h *host) checkDnsmasq(r *report) {
	var d dnsmasq
	files := append([]string{"/etc/dnsmasq.conf"}, h.Glob("/etc/dnsmasq.d/*")...)
	for _, f := range append(files, h.Glob("/var/etc/dnsmasq.conf*")...) { // OpenWrt's
		if text, ok := h.Read(f); ok {
			d.parse(f, text)
		}
	}
	const remedy = "dhcp-option=option:dns-server,0.0.0.0 and dhcp-option=option6:dns-server,[::] stand for this box"
	switch {
	case d.ranges == "":
	case len(d.servers) == 0 && d.noDNS:
		r.warn("%s: dnsmasq gives addresses and announces no resolver, because with port=0 it is none: %s", d.ranges, remedy)
	default:
		h.others(r, d.from, d.servers, remedy)
	}
}

// dnsmasq is what matters here of its configuration.
type dnsmasq struct {
	ranges  string   // the file that makes it a DHCP server; "": none does
	noDNS   bool     // port=0, or another one than 53: it does not announce itself then
	servers []string // announced
	from    string   // the file that says so
}

// parse reads one file.
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

// optionServers are the addresses of `6,ADDRESS`, `tag:x,option:dns-server,ADDRESS` and
// their like for IPv6; nil for other options.
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

// keaServers are the resolvers that a Kea configuration announces, and the number of
// its subnets. What is no JSON after its comments are gone says nothing.
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

// withoutComments takes the comments out of Kea's JSON: #, // and /* */.
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

// stringEnd is the length of the JSON string that a text begins with.
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
