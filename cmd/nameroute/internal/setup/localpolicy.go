package setup

import (
	"slices"
	"strings"
)

// localPolicy is what a dnsmasq configuration says about local names and addresses.
type localPolicy struct {
	local          bool     // domain-needed, bogus-priv: local names are not forwarded
	rebind         bool     // stop-dns-rebind: private addresses are removed from answers
	allow          []string // rebind-domain-ok
	allowLocalhost bool     // rebind-localhost-ok
}

// readOption reads one option and reports whether it is one of these.
func (p *localPolicy) readOption(key, value string) bool {
	switch key {
	case "domain-needed", "bogus-priv":
		p.local = true
	case "stop-dns-rebind":
		p.rebind = true
	case "rebind-localhost-ok":
		p.allowLocalhost = true
	case "rebind-domain-ok":
		for text := range strings.FieldsFuncSeq(value, func(r rune) bool { return r == '/' }) {
			if name, reason := confName(text); reason != "" {
				return false
			} else if !slices.Contains(p.allow, name) {
				p.allow = append(p.allow, name)
			}
		}
	default:
		return false
	}
	return true
}

// rebindDirectives returns the lines of a server block against DNS rebinding.
func (p *localPolicy) rebindDirectives() []directive {
	if !p.rebind {
		return nil
	}
	d := directive{text: "rebind"}
	if len(p.allow) > 0 {
		d.body = append(d.body, "allow "+strings.Join(p.allow, " "))
	}
	if p.allowLocalhost {
		d.body = append(d.body, "localhost_ok")
	}
	return []directive{d}
}
