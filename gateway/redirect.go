package gateway

import (
	"net/netip"
	"slices"
)

// Redirect is `redirect_dns`: what becomes of lan clients' questions to resolvers other
// than this box. The zero value leaves them alone.
type Redirect struct {
	On     bool           // questions to port 53, UDP and TCP, are answered by us
	Except []netip.Prefix // clients and resolvers that are left alone
	Refuse bool           // `dot: reject`: DNS over TLS and QUIC, port 853, is refused
}

const wantRedirect = "want on, off, or the keys except: and dot:"

// readRedirect reads a word, or what else is wanted of a redirection that is on.
func (c *Config) readRedirect(v value) {
	if v.isMapping() {
		c.Redirect = Redirect{On: true}
		v.fields([]field{
			{key: "except", read: c.readExcept},
			{key: "dot", read: func(v value) {
				word, ok := v.word("allow", "reject")
				set(&c.Redirect.Refuse)(word == "reject", ok)
			}},
		})
		return
	}
	if v.kind() != "a single value" {
		v.problem("is "+v.kind(), wantRedirect)
		return
	}
	word, ok := v.word("on", "off")
	set(&c.Redirect.On)(word == "on", ok)
}

func (c *Config) readExcept(v value) {
	for _, item := range v.items("want a list of addresses and prefixes of clients or resolvers") {
		p, ok := item.prefix()
		switch {
		case !ok:
		case p.Bits() == 0:
			item.problem("excepts every address of its family: nothing would be redirected", "want a smaller prefix, or redirect_dns: off")
		case slices.Contains(c.Redirect.Except, p):
			item.problem("named twice", "")
		default:
			c.Redirect.Except = append(c.Redirect.Except, p)
		}
	}
}

// checkRedirect notes a redirection that has nobody to redirect.
func (c *Config) checkRedirect(r *reader) {
	if c.Redirect.On && len(c.LAN) == 0 {
		at := r.places.find("redirect_dns")
		r.notes = append(r.notes, Problem{
			File: r.file, Line: at.line, Column: at.column, Key: "redirect_dns",
			Why: "redirects nobody, because lan is empty", Want: "want lan: [INTERFACE...]",
		})
	}
}
