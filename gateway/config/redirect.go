package config

import (
	"github.com/nameroute/nameroute/gateway"
)

const wantRedirect = "want on, off, or the keys except: and dot:"

// readRedirect reads on, off, or the keys of a redirection that is on.
func (c *builder) readRedirect(v value) {
	if v.isMapping() {
		c.Redirect = gateway.Redirect{On: true}
		v.fields(c.redirectFields())
		return
	}
	if v.kind() != "a single value" {
		v.problem("is "+v.kind(), wantRedirect)
		return
	}
	word, ok := v.word("on", "off")
	set(&c.Redirect.On)(word == "on", ok)
}

func (c *builder) redirectFields() []field {
	return []field{
		{key: "except", read: c.readExcept},
		{key: "dot", read: func(v value) {
			word, ok := v.word("allow", "reject")
			set(&c.Redirect.RejectDoT)(word == "reject", ok)
		}},
	}
}

func (c *builder) readExcept(v value) {
	for _, item := range v.items("want a list of addresses and prefixes of clients or resolvers") {
		p, ok := item.prefix()
		switch {
		case !ok:
		case p.Bits() == 0:
			item.problem("exempts every address of its family: nothing would be redirected", "want a smaller prefix, or redirect_dns: off")
		default:
			addOnce(&c.Redirect.Except, item, p)
		}
	}
}

// checkRedirect notes a redirection without clients.
func (c *builder) checkRedirect() {
	if c.Redirect.On && len(c.LAN) == 0 {
		c.note("redirect_dns", "", "has no effect while lan is empty", "want lan: [INTERFACE...]")
	}
}
