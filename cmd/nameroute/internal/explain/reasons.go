package explain

import (
	"fmt"
	"slices"
	"strings"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/plugin/pkg/instance"
)

// concludeName says why the name is answered by this block.
func (l *look) concludeName() {
	b := l.answering()
	switch {
	case b.Line == 0:
		l.find(CodeNoAnswer, "no block of %s answers it for this client", l.Corefile)
		return
	case b.meant() != gateway.WAN || len(b.Lists) > 0:
		l.find(CodeListed, "%s", l.chosen(b))
		l.remedyUnlist(b)
	}
	for _, other := range l.facts.Blocks {
		if other.meant() == b.meant() || len(other.Lists) == 0 || other.Class != "" && !l.isOf(other.Class) && other.Standing != string(instance.Elsewhere) {
			continue
		}
		list, e := l.listHolding(other.Lists)
		if list == nil {
			l.concludeUnlisted(other)
			continue
		}
		what := fmt.Sprintf("list %s holds it", list.Name)
		if e != nil {
			what += " by " + e.String()
		}
		switch instance.Standing(other.Standing) {
		case instance.After:
			l.find(CodeBlockOrder, "%s for route %s (%s:%d), but the block at line %d comes before it and answers", what, other.meant(), other.File, other.Line, b.Line)
			l.remedyOrder(b, other)
		case instance.Narrower:
			l.find(CodeHiddenZone, "%s for route %s, but the block at %s:%d has the more specific zone %s and answers", what, other.meant(), b.File, b.Line, strings.Join(b.Zones, " "))
			l.remedyHidden(b, other)
		case instance.Elsewhere:
			l.concludeClass(what, other)
		}
	}
	if b.meant() == gateway.WAN && len(b.Lists) == 0 && l.doc.found(CodeBlockOrder) == nil && l.doc.found(CodeHiddenZone) == nil {
		l.find(CodeNotListed, "no list of a block for this client holds it")
		l.remedyList()
	}
}

func (l *look) isOf(class string) bool { return l.client.Class == class }

// concludeClass says that a name is another class's.
func (l *look) concludeClass(what string, other Block) {
	if other.Class == "" {
		return
	}
	l.find(CodeClass, "%s for route %s, but only for clients of %s, and this is %s", what, other.meant(), other.Class, l.whose())
	if l.client.Address.IsValid() {
		l.remedyClass(other.Class)
	}
}

// whose names the client.
func (l *look) whose() string {
	switch {
	case !l.client.Address.IsValid():
		return "the box itself: --client ADDRESS looks at a client"
	case l.client.Class == "":
		return l.client.Address.String() + ", of no class"
	}
	return l.client.Address.String() + ", of class " + l.client.Class
}

// concludeUnlisted says why the lists of a block do not hold the name, although they may
// seem to.
func (l *look) concludeUnlisted(b Block) {
	for _, list := range l.doc.Lists {
		if !slices.Contains(b.Lists, list.Name) || list.Holds {
			continue
		}
		var exception, entry *Entry
		for i, e := range list.Entries {
			if e.Exception && exception == nil {
				exception = &list.Entries[i]
			} else if !e.Exception && entry == nil {
				entry = &list.Entries[i]
			}
		}
		switch {
		case list.Old && entry != nil:
			why := list.Error
			if why == "" {
				why = "the file has just changed"
			}
			l.find(CodeListFailed, "list %s has it in its file, by %s, but the last good content is in use: %s", list.Name, entry, why)
			l.remedyFailed(list)
		case exception != nil:
			l.find(CodeException, "list %s excepts it by %s", list.Name, exception)
			l.remedyEntry(CodeException, "remove the exception", list, *exception)
		case list.Error != "":
			l.find(CodeListFailed, "list %s, which may hold it, is not up to date: %s", list.Name, list.Error)
			l.remedyFailed(list)
		}
	}
}

// concludeAddress says why packets to an address take another way than its name.
func (l *look) concludeAddress(a *Address) {
	meant := l.answering().meant()
	l.concludePacket(a)
	if a.Probe != nil && a.Probe.Error != "" {
		l.find(CodeProbeFailed, "a connection to %s failed: %s", a.Probe.To, a.Probe.Error)
	}
	switch {
	case a.Local != "" && strings.Contains(a.Local, "`exclude`"):
		l.find(CodeExcluded, "%s is %s", a.Address, a.Local)
		l.remedyExclude(a.Address)
	case a.Local != "":
		l.find(CodeLocal, "%s is never rerouted: %s", a.Address, a.Local)
	case l.doc.Name == "":
		l.concludeBare(a)
	case a.Packet.Route == meant:
	case strings.Contains(a.Packet.By, "`on_down: wan`"):
		l.find(CodeDownWAN, "route %s is down%s, and has `on_down: wan`", meant, l.downBecause(meant))
		l.remedyDown(CodeDownWAN, meant)
	case a.Packet.Route == gateway.WAN && a.Special:
		l.find(CodeExcluded, "%s is for special use, and route %s does not take such addresses", a.Address, meant)
		l.remedy(CodeExcluded, "have the route take private addresses: `private: learn` at routes."+meant+" in "+l.cfg.File)
	case a.Packet.Route == gateway.WAN:
	case a.Packet.By == "default: no set holds it":
		l.find(CodeDefault, "route %s takes what no list names (`default:`)", a.Packet.Route)
	default:
		l.concludeShared(a, meant)
	}
}

// concludeShared says whose address it is besides.
func (l *look) concludeShared(a *Address, meant string) {
	names := l.otherNames(a.Address)
	switch {
	case len(a.Prefixes) > 0 && len(names) == 0:
		l.find(CodePrefix, "%s is within %s of list %s, %s:%d, whose addresses take route %s", a.Address, a.Prefixes[0].Text, a.Prefixes[0].List, a.Prefixes[0].File, a.Prefixes[0].Line, a.Packet.Route)
		l.remedy(CodePrefix, "remove the prefix", removeLine(a.Prefixes[0].File, a.Prefixes[0].Line))
	case meant == gateway.WAN && len(names) > 0:
		l.find(CodeShared, "its address %s is also that of %s, whose list is for route %s: packets show addresses, not names", a.Address, strings.Join(names, ", "), a.Packet.Route)
		l.remedyShared(names)
	case meant == gateway.WAN:
		l.find(CodeShared, "its address %s is in %s, learned for names that are not known any more", a.Address, a.Packet.By)
	default:
		l.find(CodeRouteOrder, "its address %s is in the sets of route %s, too%s, which comes before %s in %s", a.Address, a.Packet.Route, forNames(names), meant, l.cfg.File)
		l.remedyShared(names)
	}
}

func forNames(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return " for " + strings.Join(names, ", ")
}

// concludeBare says why an address without a name takes its way.
func (l *look) concludeBare(a *Address) {
	names := l.otherNames(a.Address)
	switch {
	case a.Packet.Route == gateway.WAN && a.Packet.Mark == "":
		l.find(CodeNotListed, "%s", a.Packet.By)
	case len(a.Prefixes) > 0:
		l.find(CodePrefix, "%s of list %s covers it, %s:%d", a.Prefixes[0].Text, a.Prefixes[0].List, a.Prefixes[0].File, a.Prefixes[0].Line)
	case len(names) > 0:
		l.find(CodeListed, "%s: it was learned for %s", a.Packet.By, strings.Join(names, ", "))
	default:
		l.find(CodeListed, "%s", a.Packet.By)
	}
}

// concludePacket says what keeps packets from getting out.
func (l *look) concludePacket(a *Address) {
	route := a.Packet.Route
	switch {
	case a.Packet.Refused == "" && a.Packet.Passes:
	case a.Packet.Refused != "" && route != gateway.WAN && !l.hasDefault(route, gateway.FamilyOf(a.Address)):
		l.find(CodeRouteDown, "route %s is down%s, and its packets are blocked (`on_down: block`)", route, l.downBecause(route))
		l.remedyDown(CodeRouteDown, route)
	case a.Packet.Refused != "":
		l.find(CodeUnreachable, "the kernel has no way to %s: %s", a.Address, a.Packet.Refused)
	case l.doc.found(CodeOtherRule) == nil:
		l.find(CodeBlocked, "packets to %s would leave by %s, not by route %s, and are dropped", a.Address, a.Packet.Link, route)
	}
}

func (l *look) hasDefault(route string, f gateway.Family) bool {
	s := l.states[route]
	return f == gateway.V4 && s.Default4 || f == gateway.V6 && s.Default6
}

// downBecause says why a route is down.
func (l *look) downBecause(route string) string {
	for _, r := range l.status.Routes {
		if r.Name == route && r.Reason != "" {
			return ": " + r.Reason
		}
	}
	return ""
}
