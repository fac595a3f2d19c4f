package format

import (
	"io"
	"strings"

	"github.com/nameroute/nameroute/lists/entry"
)

// dnsmasq is the lines of dnsmasq.conf(5) that contain names:
//
//	server=/a.example/b.example/192.0.2.1    entries on both, and all below
//	local= address= ipset= nftset=           the same
//	server=/c.a.example/#                    an exception: the longest name decides, and
//	                                         of equals the exception
//	server=/*.a.example/192.0.2.1            names below only
//	server=/*a.example/192.0.2.1             any name that ends so
//
// What follows the last slash is not used. dnsmasq compares the lengths of *a.example, too;
// here any exception on a name takes precedence over it.
type dnsmasq struct{}

const (
	reasonDnsmasq     = "not server=, local=, address=, ipset= or nftset= with names between slashes"
	reasonOtherFile   = "names are in another file: make that a list of its own"
	reasonReverse     = "reverse names are not supported in a list"
	reasonUnqualified = "names without a dot are not supported in a list"
	reasonWildExcept  = "an exception with a wildcard inside a label is not supported"
)

func (dnsmasq) name() string { return "dnsmasq" }

func (dnsmasq) suits(file string) bool { return strings.HasSuffix(file, ".conf") }

func (dnsmasq) sniff(head []byte) int {
	return countLines(head, func(line string) bool {
		_, _, ok := dnsmasqSplit(line)
		return ok
	})
}

func (dnsmasq) parse(r io.Reader, s *Sink) error {
	return eachLine(r, s, "#", func(line string) {
		names, exception, ok := dnsmasqSplit(line)
		if !ok {
			s.skip(line, dnsmasqReason(line))
			return
		}
		for name := range strings.SplitSeq(names, "/") {
			e, reason := dnsmasqName(name, exception)
			if reason != "" {
				s.skip(line, reason)
				continue
			}
			s.put(e)
		}
	})
}

// dnsmasqReason returns why a line contains no names for a list.
func dnsmasqReason(line string) string {
	switch key, _, _ := strings.Cut(line, "="); strings.TrimSpace(key) {
	case "conf-file", "conf-dir", "servers-file", "addn-hosts", "hostsdir":
		return reasonOtherFile
	case "rev-server":
		return reasonReverse
	}
	return reasonDnsmasq
}

// dnsmasqSplit returns the names of a line, separated by slashes.
func dnsmasqSplit(line string) (names string, exception, ok bool) {
	key, value, _ := strings.Cut(uncomment(line), "=")
	key, value = strings.TrimSpace(key), strings.TrimSpace(value)
	switch key {
	case "server", "local", "address", "ipset", "nftset":
	default:
		return "", false, false
	}
	end := strings.LastIndexByte(value, '/')
	if end < 1 || value[0] != '/' {
		return "", false, false
	}
	// '#' means "the usual servers" for servers only; for address= it is an answer.
	exception = value[end+1:] == "#" && (key == "server" || key == "local")
	return value[1:end], exception, true
}

func dnsmasqName(name string, exception bool) (e entry.Entry, reason string) {
	switch name {
	case "":
		return e, reasonUnqualified
	case "#":
		return e, entry.ReasonEveryName
	}
	if e, reason = entry.ParsePattern(name); reason != "" || !exception {
		return e, reason
	}
	e.Exception = entry.Specific
	if e.Kind == entry.Regexp {
		return e, reasonWildExcept
	}
	return e, ""
}
