package explain

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/pkg/problem"
	"github.com/nameroute/nameroute/gateway/pkg/statefile"
	"github.com/nameroute/nameroute/lists"
)

// quote quotes a word for sh(1) where that is needed.
func quote(word string) string {
	if word != "" && !strings.ContainsFunc(word, func(r rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:%+@,", r)
	}) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

func removeLine(file string, line int) string {
	return fmt.Sprintf("sed -i %dd %s", line, quote(file))
}

// writable reports whether a list is the user's own file, in which lines stand for names.
func (l *look) writable(list List) bool {
	if _, fetched := l.cfg.Source(list.Name); fetched || strings.Contains(list.Source, ":") {
		return false
	}
	info, err := os.Stat(list.Source)
	return err == nil && info.Mode().IsRegular()
}

// lineFor returns a line that lists a name in the format of a list; "" where a line does
// not.
func lineFor(format, name string) string {
	switch format {
	case "plain":
		return name
	case "dnsmasq":
		return "server=/" + name + "/9.9.9.9"
	case "autoproxy", "adblock":
		return "||" + name
	case "hosts":
		return "0.0.0.0 " + name
	}
	return ""
}

// remedyList says how the name gets a route, for each that there is, those that are up first.
func (l *look) remedyList() {
	blocks := slices.DeleteFunc(slices.Clone(l.facts.Blocks), func(b Block) bool {
		return b.meant() == gateway.WAN || len(b.Lists) == 0 || b.Class != "" && !l.isOf(b.Class)
	})
	slices.SortStableFunc(blocks, func(a, b Block) int {
		up := func(b Block) int {
			if l.states[b.meant()].Up() {
				return 0
			}
			return 1
		}
		return up(a) - up(b)
	})
	for _, b := range blocks {
		i := slices.IndexFunc(l.doc.Lists, func(list List) bool {
			return slices.Contains(b.Lists, list.Name) && l.writable(list) && lineFor(l.formatOf(list), l.doc.Name) != ""
		})
		if i < 0 {
			l.remedy(CodeNotListed, fmt.Sprintf("send it by route %s: a list of your own with it, such as `mine: {file: mine.txt}` under lists in %s, and its name after `listed` at %s:%d", b.meant(), l.cfg.File, b.File, b.Line))
			continue
		}
		list := l.doc.Lists[i]
		line := lineFor(l.formatOf(list), l.doc.Name)
		l.remedy(CodeNotListed, fmt.Sprintf("send it by route %s: a line in list %s", b.meant(), list.Name), fmt.Sprintf("echo %s >> %s", quote(line), quote(list.Source)))
	}
}

func (l *look) formatOf(list List) string {
	if list.Format != "" {
		return list.Format
	}
	r, err := lists.Check(gateway.List{Name: list.Name, File: list.Source})
	if err != nil {
		return ""
	}
	return r.Format
}

// remedyUnlist says how the name loses its route.
func (l *look) remedyUnlist(b Block) {
	if list, e := l.listHolding(b.Lists); list != nil && e != nil && b.meant() != gateway.WAN {
		l.remedyEntry(CodeListed, "send it by the WAN: without the entry", *list, *e)
	}
}

// remedyEntry removes an entry of a list.
func (l *look) remedyEntry(code, text string, list List, e Entry) {
	if l.writable(list) {
		l.remedy(code, text, removeLine(e.File, e.Line))
		return
	}
	l.remedy(code, fmt.Sprintf("%s: its list comes from %s; a list of your own in a block before it decides first", text, list.Source))
}

func (l *look) remedyFailed(list List) {
	switch _, fetched := l.cfg.Source(list.Name); {
	case strings.Contains(list.Error, lists.ErrShrunk.Error()):
		l.remedy(CodeListFailed, "use the file as it is", l.command("reload"))
	case fetched:
		l.remedy(CodeListFailed, "fetch it now", l.command("update "+list.Name))
	default:
		l.remedy(CodeListFailed, "mend what the error names, in "+list.Source+"; it is read again by itself")
	}
}

// command returns a command of nameroute with the flags that it needs here.
func (l *look) command(args string) string {
	words := "nameroute " + args
	for _, f := range []struct{ flag, value, standard string }{
		{"config", l.Config, gateway.DefaultFile}, {"corefile", l.Corefile, gateway.DefaultCorefile}, {"state", l.State, gateway.DefaultState}, {"run-dir", l.Run, gateway.DefaultRun},
	} {
		if f.value != f.standard {
			words += " --" + f.flag + " " + quote(f.value)
		}
	}
	return words
}

// remedyOrder has the later block answer.
func (l *look) remedyOrder(b, later Block) {
	if list, e := l.listHolding(b.Lists); list != nil && e != nil && l.writable(*list) {
		l.remedy(CodeBlockOrder, fmt.Sprintf("send it by route %s: without the entry of list %s", later.meant(), list.Name), removeLine(e.File, e.Line))
		return
	}
	l.remedy(CodeBlockOrder, fmt.Sprintf("send it by route %s: move the block at %s:%d before line %d", later.meant(), later.File, later.Line, b.Line))
}

// remedyHidden gives a listed block the zone that hides it.
func (l *look) remedyHidden(b, listed Block) {
	if text := "give the listed block the zone, too"; listed.File == b.File && listed.Line < b.Line {
		l.remedy(CodeHiddenZone, text, fmt.Sprintf("sed -i '%ds/^/%s /' %s", listed.Line, b.Zones[0], quote(listed.File)))
	} else {
		l.remedy(CodeHiddenZone, fmt.Sprintf("%s: %s before the keys at %s:%d, and that block before %s:%d", text, b.Zones[0], listed.File, listed.Line, b.File, b.Line))
	}
}

// remedyShared removes the listing of the names that share an address.
func (l *look) remedyShared(names []string) {
	var commands []string
	for _, list := range l.cfg.Lists {
		byName, _ := l.used(list.Name)
		verdicts, err := lists.Test(list, names...)
		if !byName || err != nil {
			continue
		}
		for _, v := range verdicts {
			for _, o := range v.Origins {
				if c := removeLine(o.File, o.Line); l.writable(List{Name: list.Name, Source: list.File}) && !slices.Contains(commands, c) {
					commands = append(commands, c)
				}
			}
		}
	}
	l.remedy(CodeShared, "one address goes one way: list both names for one route, or none; this takes "+strings.Join(names, ", ")+" off the list", commands...)
}

func (l *look) remedyOtherResolver() {
	if !l.cfg.Redirect.On {
		l.remedy(CodeOtherResolver, "answer what clients ask other resolvers, over port 53", fmt.Sprintf("echo 'redirect_dns: on' >> %s", quote(l.cfg.File)))
	}
	l.remedy(CodeOtherResolver, "or set the client to use this box as its resolver, and turn DNS over HTTPS off in its browser; `redirect_dns: {dot: reject}` also ends DNS over TLS")
}

// remedyRebind lets a name have private addresses.
func (l *look) remedyRebind() {
	b := l.parsed(l.answering())
	if b == nil {
		return
	}
	for _, d := range b.Directives {
		if d.Name != "rebind" {
			continue
		}
		edit := fmt.Sprintf(`%ds/rebind.*/rebind {\n        allow %s\n    }/`, d.Line, l.doc.Name)
		if len(d.Properties) > 0 {
			edit = fmt.Sprintf(`%da\        allow %s`, d.Line, l.doc.Name)
		}
		l.remedy(CodePrivate, "allow it private addresses, if it is to have them", fmt.Sprintf("sed -i '%s' %s", edit, quote(d.File)))
	}
}

func (l *look) remedyUpstream() {
	l.remedy(CodeNoAnswer, "ask each resolver as it is configured", l.command("check --active"))
}

// remedyDown brings a route up where that is known.
func (l *look) remedyDown(code, route string) {
	r, _ := l.cfg.Route(route)
	if link, err := net.InterfaceByName(r.Egress.Link); r.Egress.Link != "" && err == nil && link.Flags&net.FlagUp == 0 {
		l.remedy(code, "set its interface up", "ip link set dev "+r.Egress.Link+" up")
		return
	}
	l.remedy(code, "find out why the route is down", l.command("check --active"))
}

// remedyClass makes the client one of a class.
func (l *look) remedyClass(class string) {
	key, value := "prefix", l.client.Address.String()
	for _, c := range l.cfg.Clients {
		if c.Name == class && len(c.Prefixes) == 0 && len(c.MACs) > 0 && l.client.MAC != "" {
			key, value = "mac", l.client.MAC
		}
	}
	at := fmt.Sprintf("clients.%s.%s", class, key)
	text := fmt.Sprintf("make %s a client of %s: %s at %s in %s", value, class, value, at, l.cfg.File)
	if !l.cfg.Positions.Has(at) {
		l.remedy(CodeClass, text)
		return
	}
	l.remedy(CodeClass, text, l.addToList(l.cfg.Positions.Find(at), value)...)
}

// addToList returns the command that adds a value to a list of gateway.yaml.
func (l *look) addToList(at problem.Position, value string) []string {
	line, ok := l.lineOf(at.Line)
	switch {
	case !ok:
		return nil
	case strings.Contains(line, "["):
		return []string{fmt.Sprintf("sed -i '%ds/\\[/[%s, /' %s", at.Line, strings.ReplaceAll(value, "/", `\/`), quote(l.Config))}
	case strings.HasPrefix(strings.TrimSpace(line), "- "):
		indent := line[:strings.Index(line, "-")]
		return []string{fmt.Sprintf("sed -i '%di\\%s- %s' %s", at.Line, indent, value, quote(l.Config))}
	}
	return nil
}

// remedyExclude takes an address out of `exclude`.
func (l *look) remedyExclude(a netip.Addr) {
	for i, p := range l.cfg.Exclude {
		if !p.Contains(a) {
			continue
		}
		text := fmt.Sprintf("take %s out of `exclude` in %s", p, l.cfg.File)
		at := l.cfg.Positions.Find(fmt.Sprintf("exclude.%d", i))
		line, _ := l.lineOf(at.Line)
		word := p.String()
		if !strings.Contains(line, word) {
			word = p.Addr().String()
		}
		switch n := l.item(at.Line, p.String(), p.Addr().String()); {
		case n > 0:
			l.remedy(CodeExcluded, text, removeLine(l.Config, n))
		case strings.Contains(line, "[") && strings.Contains(line, word):
			l.remedy(CodeExcluded, text, fmt.Sprintf("sed -i '%ds#\"\\?%s\"\\?,\\? *##' %s", at.Line, strings.ReplaceAll(word, ".", `\.`), quote(l.Config)))
		default:
			l.remedy(CodeExcluded, text)
		}
	}
}

// item returns the line of an item of a list that begins on a line, one item a line; 0 where
// there is none.
func (l *look) item(from int, words ...string) int {
	for n := from; ; n++ {
		line, ok := l.lineOf(n)
		item, is := strings.CutPrefix(strings.TrimSpace(line), "- ")
		if !ok || !is {
			return 0
		}
		if slices.Contains(words, strings.Trim(strings.TrimSpace(item), `"'`)) {
			return n
		}
	}
}

// lineOf returns a line of gateway.yaml.
func (l *look) lineOf(n int) (string, bool) {
	text, err := statefile.ReadFile(l.Config)
	lines := strings.Split(string(text), "\n")
	if err != nil || n < 1 || n > len(lines) {
		return "", false
	}
	return lines[n-1], true
}
