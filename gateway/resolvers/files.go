package resolvers

import (
	"bufio"
	"bytes"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// eachLine calls do with the words of each line.
func eachLine(text []byte, do func(n int, line string, words []string)) {
	lines := bufio.NewScanner(bytes.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		do(n, lines.Text(), strings.Fields(lines.Text()))
	}
}

// add adds an entry that can be read.
func (b *box) add(all []entry, file string, line int, text, link string) []entry {
	if e, ok := b.entryOf(file, line, text, link); ok {
		return append(all, e)
	}
	return all
}

// ofResolvConf reads resolv.conf(5). Scripts of udhcpc that keep the lines of several
// interfaces apart write `nameserver ADDRESS # INTERFACE`.
func (b *box) ofResolvConf(file string, text []byte) []entry {
	var all []entry
	eachLine(text, func(n int, _ string, words []string) {
		if len(words) < 2 || words[0] != "nameserver" {
			return
		}
		link := ""
		if len(words) == 4 && words[2] == "#" && b.has(words[3]) {
			link = words[3]
		}
		all = b.add(all, file, n, words[1], link)
	})
	return all
}

// byName reads files that are named INTERFACE or INTERFACE.PROTOCOL.
func (b *box) byName(file string, text []byte) []entry {
	return b.onLink(b.linkOf(filepath.Base(file)), file, text)
}

// onLink reads a resolv.conf that is about one interface.
func (b *box) onLink(link, file string, text []byte) []entry {
	var all []entry
	eachLine(text, func(n int, _ string, words []string) {
		if len(words) >= 2 && words[0] == "nameserver" {
			all = b.add(all, file, n, words[1], link)
		}
	})
	return all
}

// programs are the last words of the names that resolvconf and dhcpcd give to records.
// What follows another dot is a VLAN: eth0.100.
var programs = []string{"dhclient", "dhcp", "dhcp6", "ra", "ipv4ll", "inet", "inet6", "udhcpc", "pppd", "ppp", "openvpn", "dnsmasq", "named", "unbound", "rdnssd", "static"}

func (b *box) linkOf(name string) string {
	if b.has(name) {
		return name
	}
	if name == "NetworkManager" || name == "systemd-resolved" || strings.HasPrefix(name, "original.") {
		return ""
	}
	if i := strings.LastIndexByte(name, '.'); i > 0 && slices.Contains(programs, name[i+1:]) {
		return name[:i]
	}
	return name
}

// byIndex reads files of systemd that are named by the number of an interface, and have
// the resolvers in one line, `KEY=ADDRESS ADDRESS`.
func byIndex(key string) func(*box, string, []byte) []entry {
	return func(b *box, file string, text []byte) []entry {
		link := b.ofIndex(file)
		if link == "" {
			return nil
		}
		var all []entry
		eachLine(text, func(n int, line string, _ []string) {
			if value, ok := strings.CutPrefix(line, key+"="); ok {
				all = nil
				for _, w := range strings.Fields(value) {
					all = b.add(all, file, n, w, link)
				}
			}
		})
		return all
	}
}

// ofIndex returns the interface whose number is the name of a file; "" where it is gone.
func (b *box) ofIndex(file string) string {
	n, err := strconv.Atoi(filepath.Base(file))
	if err != nil {
		return ""
	}
	return b.links[n]
}

// deviceOfNetworkManager reads the state that NetworkManager keeps of an interface: since
// 1.42 the options of its leases, and for older ones the name of the connection, whose
// lease is a file.
func (b *box) deviceOfNetworkManager(file string, text []byte) []entry {
	link := b.ofIndex(file)
	if link == "" {
		return nil
	}
	var all []entry
	eachLine(text, func(n int, line string, _ []string) {
		key, value, _ := strings.Cut(line, "=")
		switch strings.TrimSpace(key) {
		case "domain_name_servers", "dhcp6_name_servers":
			for _, w := range strings.Fields(strings.ReplaceAll(value, `\s`, " ")) {
				all = b.add(all, file, n, w, link)
			}
		}
	})
	uuid := connectionOf(text)
	if len(all) > 0 || uuid == "" || strings.ContainsAny(uuid, "/*?[\\") {
		return all
	}
	lease := "/var/lib/NetworkManager/internal-" + uuid + "-" + link + ".lease"
	if text, err := readTail(b.root+lease, false); err == nil {
		eachLine(text, func(n int, line string, _ []string) {
			if value, ok := strings.CutPrefix(line, "DNS="); ok {
				for _, w := range strings.Fields(value) {
					all = b.add(all, lease, n, w, link)
				}
			}
		})
	}
	return all
}

// connectionOf returns the connection of an interface that NetworkManager manages.
func connectionOf(text []byte) (uuid string) {
	eachLine(text, func(_ int, line string, _ []string) {
		if value, ok := strings.CutPrefix(line, "connection-uuid="); ok {
			uuid = strings.TrimSpace(value)
		}
	})
	return uuid
}

// ofNetworkManager reads NetworkManager's resolv.conf, of all its connections together. Where
// there is only one, it is about that interface.
func (b *box) ofNetworkManager(file string, text []byte) []entry {
	var connected []string
	files, _ := filepath.Glob(b.root + "/run/NetworkManager/devices/*")
	for _, f := range files[:min(len(files), maxFiles)] {
		link := b.ofIndex(f)
		if text, err := readTail(f, false); err == nil && link != "" && link != "lo" && connectionOf(text) != "" {
			connected = append(connected, link)
		}
	}
	if len(connected) == 1 {
		return b.onLink(connected[0], file, text)
	}
	return b.ofResolvConf(file, text)
}

// ofPPP reads what pppd recorded, which does not say for which of its interfaces: it is
// used where there is only one.
func (b *box) ofPPP(file string, text []byte) []entry {
	var links []string
	for _, link := range b.links {
		if n, ok := strings.CutPrefix(link, "ppp"); ok && strings.Trim(n, "0123456789") == "" {
			links = append(links, link)
		}
	}
	if len(links) != 1 {
		return nil
	}
	return b.onLink(links[0], file, text)
}
