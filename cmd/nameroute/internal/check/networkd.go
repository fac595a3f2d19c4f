package check

import (
	"bufio"
	"path"
	"slices"
	"strings"
)

// checkNetworkd checks that systemd-networkd leaves foreign policy rules and kernel routes
// alone; by default it removes them whenever it reconfigures a link (networkd.conf(5)).
// NetworkManager never touches other tables and protocol numbers.
func (h *host) checkNetworkd(r *report) {
	if !h.Runs("systemd-network") {
		return
	}
	var bad []string
	for _, key := range []string{"ManageForeignRoutingPolicyRules", "ManageForeignRoutes"} {
		if value := h.networkd(key); value == "" || isTrue(value) {
			bad = append(bad, key+"=no")
		}
	}
	if len(bad) > 0 {
		r.warn("systemd-networkd removes the policy rules and routes of other programs; nameroute restores them, but only after a gap: write [Network] and %s to /etc/systemd/networkd.conf.d/nameroute.conf, then systemctl restart systemd-networkd", strings.Join(bad, " and "))
	}
}

// networkd returns the value of a key of section Network. The last one counts: drop-ins
// follow the main file in the order of their names, and of two with the same name the one
// in /etc counts, else /run, /usr/local/lib, /usr/lib (systemd.syntax(7)).
func (h *host) networkd(key string) string {
	folders := []string{"/etc/systemd", "/run/systemd", "/usr/local/lib/systemd", "/usr/lib/systemd"}
	var files []string
	for _, f := range folders {
		if main := path.Join(f, "networkd.conf"); h.Exists(main) {
			files = append(files, main)
			break
		}
	}
	byName := map[string]string{}
	for _, f := range slices.Backward(folders) {
		for _, drop := range h.Glob(path.Join(f, "networkd.conf.d/*.conf")) {
			byName[path.Base(drop)] = drop
		}
	}
	names := make([]string, 0, len(byName))
	for n := range byName {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names {
		files = append(files, byName[n])
	}
	value := ""
	for _, f := range files {
		text, _ := h.Read(f)
		if v, ok := iniValue(text, "Network", key); ok {
			value = v
		}
	}
	return value
}

// iniValue returns the last value of a key in a section of a systemd file.
func iniValue(text, section, key string) (value string, ok bool) {
	in := ""
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		l := strings.TrimSpace(lines.Text())
		switch {
		case l == "" || l[0] == '#' || l[0] == ';':
		case l[0] == '[':
			in = strings.Trim(l, "[]")
		case in == section:
			if k, v, found := strings.Cut(l, "="); found && strings.TrimSpace(k) == key {
				value, ok = strings.TrimSpace(v), true
			}
		}
	}
	return value, ok
}

// isTrue parses a boolean as systemd does.
func isTrue(s string) bool {
	return slices.Contains([]string{"1", "yes", "y", "true", "t", "on"}, strings.ToLower(s))
}
