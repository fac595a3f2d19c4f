package config

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/pkg/problem"
)

// Keys of a class of programs of the box itself.
const (
	keyUser   = "user"
	keyGroup  = "group"
	keyCgroup = "cgroup"
	keyRoute  = "route"
)

const (
	wantUsers   = "want a list of users, such as [debian-transmission]"
	wantGroups  = "want a list of primary groups, such as [mesh-vpn]"
	wantCgroups = "want a list of cgroups, such as [system.slice/restic.service]"
)

// accounts reads users or groups, by name or number. They need not exist yet.
func (v value) accounts(want string) (all []string) {
	for _, item := range v.items(want) {
		name, ok := item.text(want)
		n, err := strconv.ParseUint(name, 10, 64)
		switch {
		case !ok:
		case name == "root" || err == nil && n == 0:
			item.problem("is the kernel's own, too, and that of most services", "want a cgroup, such as system.slice/NAME.service")
		case err == nil && n >= 1<<32-1:
			item.problem("not a number of a user or group", "want 1 to 4294967294")
		case strings.ContainsAny(name, " \t:/,"):
			item.problem("not a name of a user or group", want)
		default:
			addOnce(&all, item, name)
		}
	}
	return all
}

// cgroups reads paths of cgroups, below the root of cgroup2.
func (v value) cgroups() (all []string) {
	for _, item := range v.items(wantCgroups) {
		text, ok := item.text(wantCgroups)
		name := strings.Trim(path.Clean(text), "/")
		switch {
		case !ok:
		case strings.HasPrefix(name, "sys/fs/cgroup"):
			item.problem("begins with the directory where cgroups are mounted", "want the path below it, such as system.slice/restic.service")
		case name == "" || name == "." || name == ".." || strings.HasPrefix(name, "../"):
			item.problem("not the path of a cgroup", wantCgroups)
		case strings.HasSuffix(name, ".service") && !strings.Contains(name, "/"):
			item.problem("has no slice", "want the whole path, such as system.slice/"+name+": systemctl show -p ControlGroup "+name)
		case strings.ContainsAny(name, "*?\"\\\n"):
			item.problem("patterns are not supported", "want each cgroup, or the slice that they are in")
		default:
			addOnce(&all, item, name)
		}
	}
	return all
}

// checkClassRoute reports what is wrong with the route that takes all of a class.
func (c *builder) checkClassRoute(key string, class gateway.Clients) {
	if class.Route == "" {
		return
	}
	c.checkOnlyRoute(class)
	var known []string
	for _, r := range c.AllRoutes() {
		known = append(known, r.Name)
	}
	key += "." + keyRoute
	switch r, ok := c.Route(class.Route); {
	case !ok:
		c.problem(key, class.Route, "unknown route", problem.DidYouMean(class.Route, known))
	case !r.ServesClass(class.Name):
		c.problem(key, class.Route, "is for other clients only", "want "+class.Name+" in routes."+r.Name+".clients, too")
	}
}

// checkOnlyRoute reports other routes for a class whose route takes everything.
func (c *builder) checkOnlyRoute(class gateway.Clients) {
	its, _ := c.Route(class.Route)
	members := c.Members(its)
	for _, r := range c.Routes {
		if r.Name == class.Route || !slices.Contains(r.Clients, class.Name) || slices.ContainsFunc(members, func(m gateway.Route) bool { return m.Name == r.Name }) {
			continue
		}
		c.problemAt(c.positions[nameKey(r.Name, keyClients, class.Name)], "routes."+r.Name+"."+keyClients, class.Name,
			fmt.Sprintf("all of it goes by %s (clients.%s.%s)", class.Route, class.Name, keyRoute), "want one of the two")
	}
}
