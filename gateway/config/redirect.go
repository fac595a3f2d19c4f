package config

import (
	"slices"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/pkg/problem"
)

const wantRedirect = "want on, off, or the keys except: and dot:"

// readRedirect reads a word, or what else is wanted of a redirection that is on.
func (c *builder) readRedirect(v value) {
	if v.isMapping() {
		c.Redirect = gateway.Redirect{On: true}
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

func (c *builder) readExcept(v value) {
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
func (c *builder) checkRedirect(r *reader) {
	if c.Redirect.On && len(c.LAN) == 0 {
		at := r.positions.Find("redirect_dns")
		r.notes = append(r.notes, problem.Problem{
			File: r.file, Line: at.Line, Column: at.Column, Key: "redirect_dns",
			Why: "redirects nobody, because lan is empty", Want: "want lan: [INTERFACE...]",
		})
	}
}
