package status

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/output"
	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/plugin/pkg/instance"
)

// Class is one class of clients.
type Class struct {
	Name      string   `json:"name"`
	Clients   []string `json:"clients"`             // what they are known by: prefixes, MAC addresses, interfaces
	Routes    []string `json:"routes"`              // that only classes take, this one among them
	Lists     []string `json:"lists,omitempty"`     // that its blocks answer the names of
	Listeners []string `json:"listeners,omitempty"` // of its own, to which its queries are redirected; missing: it has no block
	Elements  int      `json:"elements"`            // learned addresses of its routes
}

func (d *Doc) addClasses(cfg *gateway.Config) {
	for _, c := range cfg.Clients {
		one := Class{Name: c.Name, Routes: []string{}}
		for _, p := range c.Prefixes {
			one.Clients = append(one.Clients, p.String())
		}
		for _, m := range c.MACs {
			one.Clients = append(one.Clients, m.String())
		}
		one.Clients = append(one.Clients, c.Links...)
		for _, of := range []struct {
			kind  string
			names []string
		}{{"user ", c.Users}, {"group ", c.Groups}, {"cgroup ", c.Cgroups}} {
			for _, n := range of.names {
				one.Clients = append(one.Clients, of.kind+n)
			}
		}
		if c.Route != "" {
			one.Routes = append(one.Routes, c.Route)
		}
		for _, r := range cfg.Routes {
			if slices.Contains(r.Clients, c.Name) {
				one.Routes = append(one.Routes, r.Name)
			}
		}
		d.Classes = append(d.Classes, one)
	}
}

// addNamesOfClasses adds what the resolver has for classes, and what was learned.
func (d *Doc) addNamesOfClasses(s instance.Status) {
	add := func(to *[]string, words ...string) {
		for _, w := range words {
			if !slices.Contains(*to, w) {
				*to = append(*to, w)
			}
		}
	}
	for i := range d.Classes {
		c := &d.Classes[i]
		for _, b := range s.Blocks {
			if b.Class == c.Name {
				add(&c.Listeners, b.Servers...)
				add(&c.Lists, b.Lists...)
			}
		}
		for _, x := range s.Sets {
			if slices.Contains(c.Routes, x.Route) {
				c.Elements += x.Elements
			}
		}
	}
}

// mergeClasses keeps one of two views of a class: the one with its blocks.
func mergeClasses(a, b []Class) []Class {
	for _, c := range b {
		i := slices.IndexFunc(a, func(o Class) bool { return o.Name == c.Name })
		switch {
		case i < 0:
			a = append(a, c)
		case len(a[i].Listeners) == 0:
			a[i] = c
		}
	}
	return a
}

func classesText(w io.Writer, d Doc) {
	t := output.NewTable("CLASS", "CLIENTS", "ROUTES", "LISTED", ">ELEMENTS", "LISTENERS")
	for _, c := range d.Classes {
		listed := strings.Join(c.Lists, " ")
		if listed == "" && len(c.Listeners) > 0 {
			listed = "all names"
		}
		t.Add(c.Name, output.OrDash(strings.Join(c.Clients, " ")), output.OrDash(strings.Join(c.Routes, " ")), output.OrDash(listed),
			fmt.Sprint(c.Elements), output.OrDash(strings.Join(c.Listeners, " ")))
	}
	printSection(w, t)
}
