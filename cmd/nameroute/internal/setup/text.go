package setup

import (
	"fmt"
	"net/url"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/provider"
)

// Public resolvers for where neither the provider nor the system names any.
const (
	publicEncrypted = "tls://9.9.9.9%dns.quad9.net tls://1.1.1.1%one.one.one.one"
	publicPlain     = "9.9.9.9, 1.1.1.1"
)

// initFiles are the texts that are written.
type initFiles struct {
	gateway, corefile, list string // list is "" where it is not ours to write
	listFile                string
}

// compose writes the files for the choices. dir is gateway.yaml's folder.
func (c choices) compose(dir string) initFiles {
	name := c.listName()
	f := initFiles{listFile: filepath.Join(dir, "mine.txt")}
	source := "    file: mine.txt             # beside this file; a change is taken up at once\n"
	switch {
	case strings.Contains(c.list, "://"):
		source = fmt.Sprintf("    url: %s\n    every: 24h                 # fetched through its route\n    via: vpn\n", quoted(c.list))
		if !c.providerResolvers() {
			source += "    resolvers: [" + publicPlain + "]    # asked for its server, by that route\n"
		}
	case c.list != "":
		abs, err := filepath.Abs(c.list)
		if err != nil {
			abs = c.list // without a working directory: as it was given
		}
		source = fmt.Sprintf("    file: %s\n", quoted(abs))
	default:
		f.list = "# One name a line: the name and all below it.\n# example.com\n"
	}
	f.gateway = fmt.Sprintf(`# The routes and lists. Every key is explained in README.md; nameroute check finds
# what is wrong. A change is taken up at once.

lan: [%s]                  # the interfaces of your clients: who is answered
wan: %s                      # auto follows the default route; or an interface
%s
routes:
  vpn:
%s    on_down: block             # a dead tunnel is a closed door; or wan: fall back

lists:
  %s:
%s`, strings.Join(c.lanNames(), ", "), c.wanName(), c.wanResolvers(), c.egress(), name, source)
	f.gateway, f.corefile = aligned(f.gateway), aligned(c.corefileText(name))
	return f
}

// behind is a comment behind something.
var behind = regexp.MustCompile(`(?m)^(.*\S) {4,}(# .*)$`)

// aligned puts the comments below each other.
func aligned(text string) string {
	return behind.ReplaceAllStringFunc(text, func(line string) string {
		parts := behind.FindStringSubmatch(line)
		return fmt.Sprintf("%-30s %s", parts[1], parts[2])
	})
}

func (c choices) corefileText(list string) string {
	bind := ""
	if c.bind {
		var addrs []string
		for _, l := range c.lan {
			for _, a := range l.addrs {
				if a.Is4() || a.IsPrivate() { // a provider's IPv6 prefix comes and goes
					addrs = append(addrs, a.String())
				}
			}
		}
		bind = "    bind " + strings.Join(append([]string{"127.0.0.1"}, addrs...), " ") + "    # another program has port 53 on other addresses\n"
	}
	resolvers := "    # the provider's own resolvers, through the tunnel"
	if !c.providerResolvers() {
		resolvers = " " + publicEncrypted
	}
	return fmt.Sprintf(`# Which names take which route. Blocks are tried from top to bottom.

. {
%[1]s    listed %[2]s    # this block answers the names on the list
    route vpn    # what it answers is routed through vpn
    errors
    cache
    rebind    # no name from outside leads into the home
    upstream vpn%[3]s
}

. {
%[1]s    errors
    cache
    hosts {    # names in /etc/hosts
        fallthrough
    }
%[4]s    home %[5]s    # what means nothing outside is not asked there: printer, localhost, .onion, 192.168...
    rebind
    upstream wan    # everything else: the WAN's resolvers, by the WAN
}
`, bind, list, resolvers, c.leasesText(), c.domain)
}

// leasesText is for a box that is the DHCP server. Where another one is, its resolver
// may be asked for the names of its clients.
func (c choices) leasesText() string {
	if len(c.leases) == 0 {
		return "    # leases " + c.domain + "    # names of DHCP clients, where this box is their server\n"
	}
	return "    leases " + c.domain + " " + strings.Join(c.leases, " ") + "    # names of DHCP clients\n"
}

func (c choices) lanNames() []string {
	var names []string
	for _, l := range c.lan {
		names = append(names, quoted(l.name))
	}
	return names
}

func (c choices) wanName() string {
	if c.wan == "" {
		return "auto"
	}
	return quoted(c.wan)
}

func (c choices) wanResolvers() string {
	if !c.public {
		return ""
	}
	return "wan_resolvers: [" + publicPlain + "]    # the system names none but this box\n"
}

func (c choices) egress() string {
	if c.file == "" {
		return fmt.Sprintf("    interface: %s\n", quoted(c.link))
	}
	text := fmt.Sprintf("    wireguard: %s    # as the provider gave it\n", quoted(c.file))
	if conf, err := provider.Load(c.file); err == nil && conf.CheckHooks(false) != nil {
		text += "    hooks: ignore              # the file has commands, which are not run\n"
	}
	return text
}

// providerResolvers reports whether the provider's file names resolvers.
func (c choices) providerResolvers() bool {
	if c.file == "" {
		return false
	}
	conf, err := provider.Load(c.file)
	return err == nil && len(conf.DNS) > 0
}

// notName is what cannot stand in a list's name.
var notName = regexp.MustCompile(`[^a-z0-9_-]+`)

// listName makes a name for the list of its file's.
func (c choices) listName() string {
	if c.list == "" {
		return "mine"
	}
	base := path.Base(filepath.ToSlash(c.list))
	if u, err := url.Parse(c.list); err == nil && u.Host != "" {
		base = path.Base(u.Path)
	}
	base, _, _ = strings.Cut(strings.ToLower(base), ".")
	base = strings.TrimLeft(notName.ReplaceAllString(base, "-"), "-_0123456789")
	base = strings.TrimRight(base[:min(len(base), gateway.MaxNameLen)], "-_")
	if base == "" || base == gateway.WAN {
		return "list"
	}
	return base
}

// plainScalar is what YAML reads as the text that it is.
var plainScalar = regexp.MustCompile(`^[A-Za-z/][A-Za-z0-9/_.+-]*$`)

// quoted is a text as a YAML value.
func quoted(s string) string {
	if plainScalar.MatchString(s) {
		return s
	}
	return strconv.Quote(s)
}

// lanAddress is the address that the LAN's DHCP server should announce.
func (c choices) lanAddress() string {
	for _, l := range c.lan {
		for _, a := range l.addrs {
			if a.Is4() {
				return a.String()
			}
		}
	}
	return "this box's address in the LAN"
}
