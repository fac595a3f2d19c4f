package setup

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"

	"github.com/nameroute/nameroute/gateway/pkg/statefile"
)

// homeConf is what a dnsmasq configuration says about the LAN: its interfaces, its names and
// its DHCP clients.
type homeConf struct {
	lan         []string
	listen      []string // addresses
	port        string   // "" is 53
	domains     []string // of the LAN's own names, which are never forwarded
	noHosts     bool
	hostsFiles  []string
	records     []string    // lines of a hosts file
	cnames      [][2]string // name, target
	dhcp        bool
	leaseFiles  []string
	reverse     []reverseServer
	resolvFiles []string
	noResolv    bool
	notNeeded   []string // options that have no counterpart, and need none
}

// reverseServer is a resolver of the reverse names of a network.
type reverseServer struct {
	network           netip.Prefix
	resolver, address string // with "@" and an interface, and without
}

const (
	reasonRecord   = "want names, then addresses"
	reasonCNAME    = "want names, the last of them the target"
	reasonNetwork  = "want a network, a comma and the address of a resolver"
	reasonDevice   = "not the name of an interface"
	reasonUnknown  = "unknown here: see whether a plugin of CoreDNS does it"
	reasonExpand   = "hosts reads names as they are: write them with the domain into the hosts file"
	reasonListen   = "which clients are answered is lan: in gateway.yaml, and which addresses are listened on is bind in the Corefile"
	reasonAddress  = "not an address"
	reasonZoneFile = "no counterpart but a zone file: use the plugin file"
	reasonDHCP     = "DHCP stays with dnsmasq: leave it running with port=0"
	reasonPort     = "not a port"
	reasonLogging  = "use the plugin log, which logs each query with its answer"
	reasonDNSSEC   = "nameroute does not validate: use resolvers that do, over TLS"
	reasonFilter   = "a route without IPv6 has no AAAA; else use the plugin template to answer AAAA with nothing"
	reasonNoAnswer = "no counterpart: addresses in answers are not changed or refused, but for rebind"
)

// dnsmasqOther says what to do instead of options that are not carried over. "" is nothing.
var dnsmasqOther = map[string]string{
	"expand-hosts": reasonExpand, "hostsdir": "name the file in hosts", "log-queries": reasonLogging,
	"dnssec": reasonDNSSEC, "dnssec-check-unsigned": reasonDNSSEC, "trust-anchor": reasonDNSSEC, "proxy-dnssec": "",
	"except-interface": reasonListen, "no-dhcp-interface": reasonDHCP, "auth-server": reasonZoneFile, "auth-zone": reasonZoneFile,
	"txt-record": reasonZoneFile, "srv-host": reasonZoneFile, "mx-host": reasonZoneFile, "mx-target": reasonZoneFile, "selfmx": reasonZoneFile,
	"localmx": reasonZoneFile, "ptr-record": reasonZoneFile, "naptr-record": reasonZoneFile, "caa-record": reasonZoneFile, "dns-rr": reasonZoneFile,
	"interface-name": "use hosts with the addresses", "dynamic-host": "use hosts with the addresses", "synth-domain": "use the plugin template",
	"bogus-nxdomain": reasonNoAnswer, "ignore-address": reasonNoAnswer, "alias": reasonNoAnswer,
	"filter-A": reasonFilter, "filter-AAAA": reasonFilter, "filterwin2k": "home keeps local names from being forwarded",
	"add-mac": "nothing is added to queries", "add-subnet": "nothing is added to queries", "add-cpe-id": "nothing is added to queries",
	"localise-queries": "use the plugin view for other answers to other networks", "min-cache-ttl": "use success and denial of the plugin cache",
	"max-cache-ttl": "use success and denial of the plugin cache", "max-ttl": "use success and denial of the plugin cache", "use-stale-cache": "use serve_stale of the plugin cache",
	"umbrella": "nothing is added to queries", "connmark-allowlist": reasonUnknown, "query-port": reasonUnknown,
	"no-poll": "", "cache-size": "", "strict-order": "", "all-servers": "", "bind-interfaces": "", "bind-dynamic": "", "user": "", "group": "", "pid-file": "",
	"log-facility": "", "log-async": "", "log-debug": "", "no-daemon": "", "keep-in-foreground": "", "no-negcache": "", "neg-ttl": "", "local-ttl": "", "local-service": "",
	"clear-on-reload": "", "dns-forward-max": "", "edns-packet-max": "", "dns-loop-detect": "", "enable-dbus": "", "enable-ubus": "", "min-port": "", "max-port": "",
	"rebind-domain-ok": "write the names behind allow in rebind", "no-ident": "", "fast-dns-retry": "", "no-round-robin": "", "safe-mode": "", "no-0x20-encode": "", "do-0x20-encode": "",
}

// readOption reads one option. The reason says why it is not carried over, and what to do.
func (h *homeConf) readOption(key, value string) (reason string) {
	switch key {
	case "interface":
		for name := range strings.SplitSeq(value, ",") {
			if name = strings.TrimSpace(name); !isInterfaceName(name) || name == "" || strings.Contains(name, "*") {
				return reasonDevice
			} else if name != "lo" && !slices.Contains(h.lan, name) {
				h.lan = append(h.lan, name)
			}
		}
	case "listen-address":
		return h.addListen(value)
	case "port":
		return h.setPort(value)
	case "domain":
		name, _, _ := strings.Cut(value, ",")
		if name, reason = confName(strings.TrimSpace(name)); reason == "" {
			h.domains = append([]string{name}, h.domains...) // leases takes the first
		}
	case "no-hosts":
		h.noHosts = true
	case "addn-hosts":
		h.hostsFiles = append(h.hostsFiles, value)
	case "host-record":
		return h.addRecord(value)
	case "cname":
		return h.addCNAME(value)
	case "rev-server":
		return h.addReverse(value)
	case "no-resolv":
		h.noResolv = true
	case "resolv-file":
		h.resolvFiles = append(h.resolvFiles, value)
	case "dhcp-leasefile":
		h.dhcp, h.leaseFiles = true, append(h.leaseFiles, value)
	default:
		return h.other(key)
	}
	return reason
}

func (h *homeConf) other(key string) (reason string) {
	for _, prefix := range []string{"dhcp-", "enable-ra", "ra-param", "enable-tftp", "tftp-", "pxe-", "read-ethers", "quiet-", "bootp-", "script-", "bridge-interface", "shared-network", "leasequery"} {
		if strings.HasPrefix(key, prefix) {
			h.dhcp = h.dhcp || key == "dhcp-range"
			return reasonDHCP
		}
	}
	reason, known := dnsmasqOther[key]
	if !known {
		return reasonUnknown
	}
	if reason == "" && !slices.Contains(h.notNeeded, key) {
		h.notNeeded = append(h.notNeeded, key)
	}
	return reason
}

// addRecord reads host-record=NAME[,NAME],ADDRESS[,ADDRESS][,TTL].
func (h *homeConf) addRecord(value string) (reason string) {
	var names []string
	var lines []string
	for text := range strings.SplitSeq(value, ",") {
		text = strings.TrimSpace(text)
		if a, err := netip.ParseAddr(text); err == nil && len(names) > 0 && a.Zone() == "" {
			lines = append(lines, a.String()+" "+strings.Join(names, " "))
			continue
		}
		if len(lines) > 0 { // a TTL
			continue
		}
		name, reason := confName(text)
		if reason != "" {
			return reason
		}
		names = append(names, name)
	}
	if len(lines) == 0 {
		return reasonRecord
	}
	h.records = append(h.records, lines...)
	return ""
}

// addCNAME reads cname=NAME[,NAME],TARGET[,TTL].
func (h *homeConf) addCNAME(value string) (reason string) {
	var names []string
	for text := range strings.SplitSeq(value, ",") {
		if text = strings.TrimSpace(text); strings.Trim(text, "0123456789") == "" && len(names) > 1 {
			continue // a TTL
		}
		if strings.HasPrefix(text, "*.") {
			return reasonWildcard
		}
		name, reason := confName(text)
		if reason != "" {
			return reason
		}
		names = append(names, name)
	}
	if len(names) < 2 {
		return reasonCNAME
	}
	target := names[len(names)-1]
	for _, n := range names[:len(names)-1] {
		h.cnames = append(h.cnames, [2]string{n, target})
	}
	return ""
}

// addReverse reads rev-server=NETWORK,RESOLVER.
func (h *homeConf) addReverse(value string) (reason string) {
	network, resolver, _ := strings.Cut(value, ",")
	p, err := netip.ParsePrefix(strings.TrimSpace(network))
	if a, addrErr := netip.ParseAddr(strings.TrimSpace(network)); addrErr == nil && a.Zone() == "" {
		p, err = netip.PrefixFrom(a, a.BitLen()), nil
	}
	address, device, ok := parseResolver(strings.TrimSpace(resolver))
	if err != nil || !ok || p.Addr().Is4In6() {
		return reasonNetwork
	}
	r := reverseServer{network: p.Masked(), resolver: address, address: address}
	if device != "" {
		r.resolver += "@" + device
	}
	for _, other := range h.reverse {
		if other.network == r.network {
			return "the network has a resolver already: want one rev-server for it"
		}
	}
	h.reverse = append(h.reverse, r)
	return ""
}

// directives returns the lines of the last block about local names, and notes about them.
func (h *homeConf) directives(homeToo bool) (lines []directive, notes []string) {
	for _, c := range h.cnames {
		lines = append(lines, directive{text: "rewrite name exact " + c[0] + ". " + c[1] + ". answer auto"})
	}
	if d, hostsNotes, ok := h.hosts(); ok {
		lines, notes = append(lines, d), append(notes, hostsNotes...)
	}
	domain := "lan"
	if len(h.domains) > 0 {
		domain = h.domains[0]
	}
	if h.dhcp {
		lines = append(lines, directive{text: strings.Join(append([]string{"leases", domain}, h.leaseFiles...), " ")})
		notes = append(notes, "DHCP: leave dnsmasq running for it, with port=0 and dhcp-option=option:dns-server,ADDRESS-OF-THIS-BOX")
	}
	if homeToo || len(h.domains) > 0 {
		all := slices.Compact(slices.Sorted(slices.Values(h.domains)))
		lines = append(lines, directive{text: strings.Join(append([]string{"home"}, all...), " ")})
	}
	return lines, notes
}

// maxRecords bounds the lines that are copied into the Corefile.
const maxRecords = 1000

// hosts returns the line for hosts files and records. The plugin reads one file; what the
// others hold now is copied.
func (h *homeConf) hosts() (d directive, notes []string, ok bool) {
	files := h.hostsFiles
	if !h.noHosts && len(h.hostsFiles)+len(h.records) > 0 {
		files = append([]string{"/etc/hosts"}, files...)
	}
	d = directive{text: "hosts"}
	records := slices.Clone(h.records)
	for i, f := range files {
		if i == 0 && !strings.ContainsAny(f, " \t\"{}") {
			d.text += " " + f
			continue
		}
		copied := 0
		text, err := statefile.ReadFile(f)
		for line := range strings.Lines(string(text)) {
			line, _, _ = strings.Cut(line, "#")
			if f := strings.Fields(line); len(f) > 1 && len(records) < maxRecords && isRecord(f) {
				records, copied = append(records, strings.Join(f, " ")), copied+1
			}
		}
		note := fmt.Sprintf("addn-hosts=%s: hosts reads one file; %d lines of this one were copied, and its changes are not followed", f, copied)
		if err != nil {
			note = fmt.Sprintf("addn-hosts=%s: not read: %v", f, err)
		}
		notes = append(notes, note)
	}
	d.body = append(records, "fallthrough")
	return d, notes, len(files)+len(records) > 0
}

func isRecord(fields []string) bool {
	if _, err := netip.ParseAddr(fields[0]); err != nil {
		return false
	}
	for _, name := range fields[1:] {
		if _, reason := confName(name); reason != "" {
			return false
		}
	}
	return true
}

// wanResolvers returns the resolvers in resolv-file, as far as a user has written it: those of
// DHCP are followed anyway.
func (h *homeConf) wanResolvers() (all, notes []string) {
	for _, f := range h.resolvFiles {
		if h.noResolv {
			continue
		}
		text, err := statefile.ReadFile(f)
		if err != nil {
			notes = append(notes, fmt.Sprintf("resolv-file=%s: not read: %v", f, err))
			continue
		}
		var found []string
		for line := range strings.Lines(string(text)) {
			if w := strings.Fields(line); len(w) > 1 && w[0] == "nameserver" {
				if a, err := netip.ParseAddr(w[1]); err == nil && a.Zone() == "" && !a.IsLoopback() {
					found = append(found, a.String())
				}
			}
		}
		if dir := filepath.Dir(f); strings.HasPrefix(dir, "/run") || strings.HasPrefix(dir, "/var/run") || strings.HasPrefix(dir, "/tmp/resolv") || f == "/etc/resolv.conf" {
			notes = append(notes, fmt.Sprintf("resolv-file=%s: upstream wan takes the resolvers that DHCP gives the WAN, and follows them; now that file has %s",
				f, strings.Join(found, " ")))
			continue
		}
		all = append(all, found...)
		notes = append(notes, fmt.Sprintf("resolv-file=%s: its resolvers are wan_resolvers in gateway.yaml now; changes of the file are not followed", f))
	}
	return all, notes
}
