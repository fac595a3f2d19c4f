package format

import (
	"io"
	"strings"

	"github.com/nameroute/nameroute/lists/entry"
)

// smartdns is the lines of smartdns.conf that contain names:
//
//	nameserver /a.example/group           the name and all below it
//	address ipset nftset domain-rules     the same
//	nameserver /*.a.example/group         names below only
//	nameserver /-.a.example/group         the name alone
//	nameserver /*-a.example/group         names of which a label ends so
//	ipset /b.a.example/-                  an exception: the longest name decides
//
// The names of a domain-set are in a file of their own, one per line, which is a plain list.
type smartdns struct{}

const (
	reasonSmartdns  = "not nameserver, address, ipset, nftset, domain-rules or domain-rule with a name between slashes"
	reasonDomainSet = "the names of a domain-set are in its file: make that a list"
)

func (smartdns) name() string { return "smartdns" }

func (smartdns) suits(file string) bool { return strings.HasPrefix(file, "smartdns") }

func (smartdns) sniff(head []byte) int {
	return countLines(head, func(line string) bool {
		_, _, ok := smartdnsSplit(line)
		return ok || strings.HasPrefix(line, "domain-set ")
	})
}

func (smartdns) parse(r io.Reader, s *Sink) error {
	return eachLine(r, s, "#", func(line string) {
		name, exception, ok := smartdnsSplit(line)
		switch {
		case strings.HasPrefix(line, "domain-set "), ok && strings.HasPrefix(name, "domain-set:"):
			s.skip(line, reasonDomainSet)
			return
		case !ok:
			s.skip(line, reasonSmartdns)
			return
		}
		e, reason := smartdnsName(name)
		if reason == "" && exception {
			if e.Exception = entry.Specific; e.Kind == entry.Regexp {
				reason = reasonWildExcept
			}
		}
		if reason != "" {
			s.skip(line, reason)
			return
		}
		s.put(e)
	})
}

// smartdnsSplit returns the name of a line, and whether only "-" follows it, which excepts the
// name from the rules of shorter ones.
func smartdnsSplit(line string) (name string, exception, ok bool) {
	key, value := cutSpace(uncomment(line))
	switch key {
	case "nameserver", "address", "ipset", "nftset", "domain-rules", "domain-rule":
	default:
		return "", false, false
	}
	if !strings.HasPrefix(value, "/") {
		return "", false, false
	}
	name, rest, ok := strings.Cut(value[1:], "/")
	rest = strings.Trim(strings.TrimSpace(rest), "[]")
	exception = rest != "" && key != "domain-rules" && key != "domain-rule"
	for part := range strings.SplitSeq(rest, ",") {
		switch strings.TrimSpace(part) {
		case "-", "#4:-", "#6:-":
		default:
			exception = false
		}
	}
	return name, exception, ok
}

func cutSpace(line string) (first, rest string) {
	if i := strings.IndexAny(line, " \t"); i >= 0 {
		return line[:i], strings.TrimSpace(line[i:])
	}
	return line, ""
}

func smartdnsName(name string) (e entry.Entry, reason string) {
	if full, ok := strings.CutPrefix(name, "-."); ok {
		text, reason := entry.CanonicalName(full)
		return entry.Entry{Kind: entry.Full, Text: text}, reason
	}
	return entry.ParsePattern(name)
}
