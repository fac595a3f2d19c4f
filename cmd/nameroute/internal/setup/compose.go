package setup

import (
	"net/netip"
	"net/url"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/provider"
)

// Public resolvers, for where neither the provider nor the system has any.
var (
	publicEncrypted = []string{"tls://9.9.9.9%dns.quad9.net", "tls://1.1.1.1%one.one.one.one"}
	publicPlain     = []string{"9.9.9.9", "1.1.1.1"}
)

// vpn is the name of the route that init writes.
const vpn = "vpn"

// composed are the texts to write.
type composed struct {
	gateway, corefile string
	list              string // "" where the user has one
	listFile          string
}

// compose returns the files for the choices. dir is the directory of gateway.yaml.
func (c choices) compose(dir string) composed {
	out := composed{listFile: filepath.Join(dir, "mine.txt")}
	l := c.listEntry()
	if c.list == "" {
		out.list = "# One name a line; the names below it are included.\n# example.com\n"
	}
	g := gatewayFile{
		head:   "The routes and lists. README.md explains every key; `nameroute check` finds mistakes.\nChanges apply as soon as the file is saved.\n",
		noLAN:  len(c.lan) == 0,
		wan:    c.wan,
		routes: []routeEntry{c.routeEntry()},
		lists:  []listEntry{l},
	}
	for _, i := range c.lan {
		g.lan = append(g.lan, i.name)
	}
	if c.public {
		g.wanResolvers = publicPlain
	}
	out.gateway = g.String()
	out.corefile = corefileText("Which names take which route. Blocks are tried from top to bottom.\n", c.listedBlock(l.name), c.lastBlock())
	return out
}

func (c choices) routeEntry() routeEntry {
	if c.file == "" {
		return routeEntry{name: vpn, link: c.link}
	}
	conf, err := provider.Load(c.file)
	return routeEntry{
		name: vpn, wireguard: c.file, egressComment: "as the provider gave it",
		ignoreHooks: err == nil && conf.CheckHooks(false) != nil,
	}
}

func (c choices) listEntry() listEntry {
	l := listEntry{name: c.listName()}
	switch {
	case strings.Contains(c.list, "://"):
		l.url, l.via = c.list, vpn
		if !c.hasProviderResolvers() {
			l.resolvers = publicPlain
		}
	case c.list != "":
		l.file = c.list
		if abs, err := filepath.Abs(c.list); err == nil {
			l.file = abs
		}
	default:
		l.file, l.comment = "mine.txt", "beside this file; reloaded when it changes"
	}
	return l
}

// listedBlock returns the block for the names on the list.
func (c choices) listedBlock(list string) []directive {
	up := directive{text: "upstream " + vpn, comment: "the provider's resolvers, through the tunnel"}
	if !c.hasProviderResolvers() {
		up = upstream(vpn, publicEncrypted)
	}
	return append(c.bindDirectives(),
		directive{text: "listed " + list, comment: "this block answers the names on the list"},
		directive{text: "route " + vpn, comment: "and routes their addresses through " + vpn},
		directive{text: "errors"},
		cacheDirective("TTLs as they come; where resolvers are silent, the last answer"),
		directive{text: "rebind", comment: "no public name resolves to a private address"},
		up,
	)
}

// lastBlock returns the block for all other names.
func (c choices) lastBlock() []directive {
	return append(c.bindDirectives(),
		directive{text: "errors"},
		cacheDirective(""),
		directive{text: "hosts", comment: "names in /etc/hosts", body: []string{"fallthrough"}},
		c.leasesDirective(),
		directive{text: "home " + c.domain, comment: "local names are not forwarded: printer, localhost, .onion, 192.168..."},
		directive{text: "rebind"},
		directive{text: "upstream wan", comment: "everything else: the WAN's resolvers, via the WAN"},
	)
}

// cacheDirective returns the cache of every block; README.md says why it is not the default
// one.
func cacheDirective(comment string) directive {
	return directive{text: "cache", comment: comment, body: []string{
		"success 9984 86400 0", "denial 9984 3600 0", "serve_stale 1h verify 1s 30s 30s",
	}}
}

// bindDirectives returns a bind to the LAN's addresses, where another program has port 53
// on some other address.
func (c choices) bindDirectives() []directive {
	if !c.bind {
		return nil
	}
	addrs := []string{"127.0.0.1"}
	for _, l := range c.lan {
		for _, a := range l.addrs {
			if a.Is4() || a.IsPrivate() { // a provider's IPv6 prefix changes
				addrs = append(addrs, a.String())
			}
		}
	}
	return []directive{{text: "bind " + strings.Join(addrs, " "), comment: "another program has port 53 on other addresses"}}
}

// leasesDirective is a comment where this box is not the DHCP server.
func (c choices) leasesDirective() directive {
	if len(c.leases) == 0 {
		return directive{text: "# leases " + c.domain, comment: "names of DHCP clients, if this box is their DHCP server"}
	}
	return directive{text: "leases " + c.domain + " " + strings.Join(c.leases, " "), comment: "names of DHCP clients"}
}

// hasProviderResolvers reports whether the provider's file names resolvers.
func (c choices) hasProviderResolvers() bool {
	if c.file == "" {
		return false
	}
	conf, err := provider.Load(c.file)
	return err == nil && len(conf.DNS) > 0
}

// invalidInName matches what a list's name cannot contain.
var invalidInName = regexp.MustCompile(`[^a-z0-9_-]+`)

// listName names the list after its file.
func (c choices) listName() string {
	if c.list == "" {
		return "mine"
	}
	base := path.Base(filepath.ToSlash(c.list))
	if u, err := url.Parse(c.list); err == nil && u.Host != "" {
		base = path.Base(u.Path)
	}
	base, _, _ = strings.Cut(strings.ToLower(base), ".")
	base = strings.TrimLeft(invalidInName.ReplaceAllString(base, "-"), "-_0123456789")
	base = strings.TrimRight(base[:min(len(base), gateway.MaxNameLen)], "-_")
	if base == "" || base == gateway.WAN {
		return "list"
	}
	return base
}

// lanAddress returns the address that the LAN's DHCP server should announce.
func (c choices) lanAddress() (a netip.Addr, ok bool) {
	for _, l := range c.lan {
		for _, a := range l.addrs {
			if a.Is4() {
				return a, true
			}
		}
	}
	return netip.Addr{}, false
}
