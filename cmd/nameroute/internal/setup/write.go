package setup

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// gatewayFile is a gateway.yaml that is to be written.
type gatewayFile struct {
	head         string   // a comment
	lan          []string // empty: a commented example
	noLAN        bool     // there are no clients
	wan          string   // an interface; "" follows the default route
	wanResolvers []string
	routes       []routeEntry
	lists        []listEntry
}

// routeEntry is a route of a gatewayFile.
type routeEntry struct {
	name            string
	wireguard, link string // one of them
	egressComment   string
	ignoreHooks     bool
}

// listEntry is a list of a gatewayFile.
type listEntry struct {
	name      string
	file, url string // one of them
	comment   string
	format    string   // "" is found out
	via       string   // the route that it is fetched through
	resolvers []string // of its server's name
}

// String returns the text of the file.
func (g gatewayFile) String() string {
	var w writer
	w.comment(g.head)
	switch {
	case g.noLAN:
		w.line("lan: []", "interfaces of your clients; none: this box alone gets answers")
	case len(g.lan) == 0:
		w.line("# lan: [br-lan]", "interfaces of your clients; only they get answers")
	default:
		w.line("lan: "+flow(g.lan), "interfaces of your clients; only they get answers")
	}
	wan := "auto"
	if g.wan != "" {
		wan = scalar(g.wan)
	}
	w.line("wan: "+wan, "auto follows the default route; or an interface")
	if len(g.wanResolvers) > 0 {
		w.line("wan_resolvers: "+flow(g.wanResolvers), "the system has no resolver but this box")
	}
	if len(g.routes) > 0 {
		w.line("\nroutes:", "")
	}
	for _, r := range g.routes {
		w.line("  "+r.name+":", "")
		if r.wireguard != "" {
			w.line("    wireguard: "+scalar(r.wireguard), r.egressComment)
		} else {
			w.line("    interface: "+scalar(r.link), r.egressComment)
		}
		if r.ignoreHooks {
			w.line("    hooks: ignore", "the file has hook commands; they are not run")
		}
		w.line("    on_down: block", "kill switch; or wan: fall back to the WAN")
	}
	if len(g.lists) > 0 {
		w.line("\nlists:", "")
	}
	for _, l := range g.lists {
		w.line("  "+l.name+":", "")
		if l.url != "" {
			w.line("    url: "+scalar(l.url), l.comment)
			w.line("    every: 24h", "fetched via "+l.via)
			w.line("    via: "+l.via, "")
		} else {
			w.line("    file: "+scalar(l.file), l.comment)
		}
		if len(l.resolvers) > 0 {
			w.line("    resolvers: "+flow(l.resolvers), "resolve its server's name, via "+l.via)
		}
		if l.format != "" {
			w.line("    format: "+l.format, "")
		}
	}
	return w.String()
}

// directive is a line of a server block, with the lines between its braces.
type directive struct {
	text, comment string
	body          []string
}

// zoneDirective begins the text of a directive that is no line, but names the zone of its block.
const zoneDirective = "zone "

// corefileText returns the text of a Corefile whose blocks serve every name, or the zone that
// their first directive names.
func corefileText(head string, blocks ...[]directive) string {
	var w writer
	w.comment(head)
	for i, b := range blocks {
		if i > 0 {
			w.line("", "")
		}
		zone := "."
		if len(b) > 0 && strings.HasPrefix(b[0].text, zoneDirective) {
			zone, b = strings.TrimPrefix(b[0].text, zoneDirective), b[1:]
		}
		w.line(zone+" {", "")
		for _, d := range b {
			if len(d.body) == 0 {
				w.line("    "+d.text, d.comment)
				continue
			}
			w.line("    "+d.text+" {", d.comment)
			for _, l := range d.body {
				w.line("        "+l, "")
			}
			w.line("    }", "")
		}
		w.line("}", "")
	}
	return w.String()
}

// writer writes lines whose comments are aligned.
type writer struct{ strings.Builder }

// line writes one line and, where there is one, the comment about it.
func (w *writer) line(text, comment string) {
	if comment != "" {
		text = fmt.Sprintf("%-30s # %s", text, comment)
	}
	w.WriteString(text + "\n")
}

// comment writes lines of comment.
func (w *writer) comment(text string) {
	for line := range strings.Lines(text) {
		w.WriteString("# " + line)
	}
	if text != "" {
		w.WriteString("\n")
	}
}

// plainScalar matches what YAML reads as the text that it is.
var plainScalar = regexp.MustCompile(`^([A-Za-z/][A-Za-z0-9/_.+-]*|[0-9]+(\.[0-9]+){3})$`)

// scalar returns a text as a YAML value.
func scalar(s string) string {
	if plainScalar.MatchString(s) {
		return s
	}
	return strconv.Quote(s)
}

// flow returns texts as a YAML list on one line.
func flow(all []string) string {
	quoted := make([]string, len(all))
	for i, s := range all {
		quoted[i] = scalar(s)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}
