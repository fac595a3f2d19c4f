package lists

import (
	"slices"
	"strings"

	"github.com/nameroute/nameroute/lists/entry"
)

// manners are what a dnsmasq configuration says of names that stay at home.
type manners struct {
	home        bool     // domain-needed, bogus-priv: names that are not forwarded
	rebind      bool     // stop-dns-rebind: addresses of the home are taken out
	allow       []string // rebind-domain-ok
	localhostOK bool     // rebind-localhost-ok
}

// take takes one option, and reports whether it is one of these.
func (m *manners) take(key, value string) bool {
	switch key {
	case "domain-needed", "bogus-priv":
		m.home = true
	case "stop-dns-rebind":
		m.rebind = true
	case "rebind-localhost-ok":
		m.localhostOK = true
	case "rebind-domain-ok":
		for name := range strings.FieldsFuncSeq(value, func(r rune) bool { return r == '/' }) {
			if e, reason := dnsmasqName(name, false); reason != "" || e.Kind == entry.Regexp {
				return false
			} else if !slices.Contains(m.allow, e.Text) {
				m.allow = append(m.allow, e.Text)
			}
		}
	default:
		return false
	}
	return true
}

// rebindLines are the lines of a server block against rebinding.
func (m *manners) rebindLines() string {
	if !m.rebind {
		return ""
	}
	if len(m.allow) == 0 && !m.localhostOK {
		return "    rebind\n"
	}
	text := "    rebind {\n"
	if len(m.allow) > 0 {
		text += "        allow " + strings.Join(m.allow, " ") + "\n"
	}
	if m.localhostOK {
		text += "        localhost_ok\n"
	}
	return text + "    }\n"
}

// homeLine is the line that keeps names of the home there.
func (m *manners) homeLine() string {
	if !m.home {
		return ""
	}
	return "    home\n"
}
