package resolvers

import (
	"strings"
)

// ofOpenWrt reads the file of OpenWrt's netifd, whose parts are about one of its logical
// interfaces each: `# Interface wan`. /etc/config/network says what those are.
func (b *box) ofOpenWrt(file string, text []byte) []entry {
	networks := b.networks()
	var all []entry
	link := ""
	eachLine(text, func(n int, _ string, words []string) {
		switch {
		case len(words) == 3 && words[0] == "#" && words[1] == "Interface":
			link = b.deviceOf(networks, words[2], 0)
		case len(words) >= 2 && words[0] == "nameserver":
			all = b.add(all, file, n, words[1], link)
		}
	})
	return all
}

// network is a logical interface of OpenWrt.
type network struct{ proto, device string }

// networks reads the interfaces of /etc/config/network.
func (b *box) networks() map[string]network {
	text, err := readTail(b.root+"/etc/config/network", false)
	if err != nil {
		return nil
	}
	all := map[string]network{}
	name := ""
	eachLine(text, func(_ int, _ string, words []string) {
		if len(words) < 2 {
			return
		}
		value := strings.Trim(words[len(words)-1], `'"`)
		switch {
		case words[0] == "config":
			if name = ""; len(words) == 3 && strings.Trim(words[1], `'"`) == "interface" {
				name = value
			}
		case name == "" || words[0] != "option" || len(words) < 3:
		case words[1] == "proto":
			all[name] = network{value, all[name].device}
		case words[1] == "device" || words[1] == "ifname":
			all[name] = network{all[name].proto, value}
		}
	})
	return all
}

// maxAliases bounds how many interfaces may be defined by each other.
const maxAliases = 8

// deviceOf returns the interface of a logical one, of the names that netifd gives them the
// first that is there: pppoe-wan, a bridge, the device, which may be that of another one
// (@wan); and for those that it makes by itself (wan_6) the one that they are for.
func (b *box) deviceOf(networks map[string]network, name string, depth int) string {
	if depth > maxAliases {
		return ""
	}
	n, known := networks[name]
	if !known {
		for _, suffix := range []string{"_4", "_6"} {
			if of, ok := strings.CutSuffix(name, suffix); ok {
				return b.deviceOf(networks, of, depth+1)
			}
		}
	}
	for _, link := range []string{n.proto + "-" + name, "br-" + name} {
		if b.has(link) {
			return link
		}
	}
	if of, ok := strings.CutPrefix(n.device, "@"); ok {
		return b.deviceOf(networks, of, depth+1)
	}
	for _, link := range []string{n.device, name} {
		if b.has(link) {
			return link
		}
	}
	return ""
}
