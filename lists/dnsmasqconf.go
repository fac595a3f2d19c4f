package lists

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/nameroute/nameroute/gateway/pkg/statefile"
	"github.com/nameroute/nameroute/lists/entry"
)

// dnsmasqConf is what a dnsmasq configuration says of names and resolvers.
type dnsmasqConf struct {
	servers map[string][]string // of a name: its resolvers, "@" and an interface behind some; nil: the usual ones
	sets    map[string][]string // of a name: the sets that its addresses go to
	usual   []string            // resolvers for all other names
	lost    []Loss
	seen    map[string]bool // files that were read
	manners manners
}

// Loss is a line of a configuration that could not be carried over.
type Loss struct {
	File   string
	Line   int
	Text   string
	Reason string
}

// String is the loss as messages have it.
func (l Loss) String() string { return fmt.Sprintf("%s:%d: %q: %s", l.File, l.Line, l.Text, l.Reason) }

const (
	reasonWildImport = "a '*' inside a label is not carried over"
	reasonResolver   = "not the address of a resolver"
	reasonAnswered   = "an answer of its own; write it with the plugin hosts or template"
	reasonNotDNS     = "not about names, resolvers or sets"
	maxConfFiles     = 10_000
)

// read reads a file and those that it names.
func (c *dnsmasqConf) read(file string) error {
	if c.seen[file] {
		return nil
	}
	if c.seen[file] = true; len(c.seen) > maxConfFiles {
		return fmt.Errorf("more than %d files", maxConfFiles)
	}
	f, err := statefile.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	in, err := decompress(f)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	r := Report{File: file}
	s := &sink{report: &r}
	var failed error
	err = eachLine(in, s, "#", func(line string) {
		reason, err := c.line(uncomment(line))
		if reason != "" {
			c.lost = append(c.lost, Loss{file, s.line, printable(line), reason})
		}
		failed = errors.Join(failed, err)
	})
	for _, bad := range r.Samples { // lines that are no text
		c.lost = append(c.lost, Loss{file, bad.Line, bad.Text, bad.Reason})
	}
	return errors.Join(err, failed)
}

// line takes one option; the reason says why it is not carried over.
func (c *dnsmasqConf) line(line string) (reason string, err error) {
	key, value, _ := strings.Cut(line, "=")
	key, value = strings.TrimSpace(key), strings.Trim(strings.TrimSpace(value), `"`)
	switch key {
	case "server", "local":
		return c.server(value), nil
	case "ipset", "nftset":
		return c.set(value), nil
	case "address":
		return reasonAnswered, nil
	case "rev-server":
		return reasonReverse, nil
	case "conf-file", "servers-file":
		return "", c.read(value)
	case "conf-dir":
		return "", c.folder(value)
	case "no-resolv", "no-poll", "cache-size", "strict-order", "all-servers", "":
		return "", nil // said in other ways here, or not needed
	}
	if c.manners.take(key, value) {
		return "", nil
	}
	return reasonNotDNS, nil
}

// splitNames takes the names out of a value, and what follows them. Names with wildcards
// inside a label are refused; *.name is the name, as all of ours hold those below.
func splitNames(value string) (names []string, rest, reason string) {
	end := strings.LastIndexByte(value, '/')
	if end < 1 || value[0] != '/' {
		return nil, value, ""
	}
	for text := range strings.SplitSeq(value[1:end], "/") {
		e, reason := dnsmasqName(text, false)
		if reason == "" && e.Kind == entry.Regexp {
			reason = reasonWildImport
		}
		if reason != "" {
			return nil, "", reason
		}
		names = append(names, e.Text)
	}
	return names, value[end+1:], ""
}

func (c *dnsmasqConf) server(value string) (reason string) {
	names, target, reason := splitNames(value)
	if reason != "" {
		return reason
	}
	if len(names) == 0 {
		address, _, ok := resolver(target)
		if !ok {
			return reasonResolver
		}
		c.usual = append(c.usual, address)
		return ""
	}
	if target == "" {
		return reasonAnswered
	}
	var address []string
	if target != "#" {
		a, device, ok := resolver(target)
		if !ok {
			return reasonResolver
		}
		if device != "" {
			a += "@" + device
		}
		address = []string{a}
	}
	for _, n := range names {
		if have, ok := c.servers[n]; ok && (have == nil || address == nil) {
			c.servers[n] = address // the last word, where one takes back the other
		} else if !slices.Contains(have, strings.Join(address, "")) {
			c.servers[n] = append(have, address...)
		}
	}
	return ""
}

// resolver turns 192.0.2.1#5353@eth0 into what upstream takes, and the interface.
func resolver(s string) (address, device string, ok bool) {
	s, device, _ = strings.Cut(s, "@")
	device, _, _ = strings.Cut(device, "@")
	host, port, hasPort := strings.Cut(s, "#")
	a, err := netip.ParseAddr(host)
	if err != nil || a.Zone() != "" {
		return "", "", false
	}
	if _, err := netip.ParseAddr(strings.SplitN(device, "#", 2)[0]); err == nil {
		device = "" // a source address
	}
	switch {
	case !hasPort || port == "53":
		return a.String(), device, true
	case a.Is6():
		return "[" + a.String() + "]:" + port, device, isDigits(port)
	}
	return a.String() + ":" + port, device, isDigits(port)
}

func (c *dnsmasqConf) set(value string) (reason string) {
	names, target, reason := splitNames(value)
	if reason != "" {
		return reason
	}
	if len(names) == 0 || target == "" {
		return reasonDnsmasq
	}
	for _, n := range names {
		for spec := range strings.SplitSeq(target, ",") {
			if !slices.Contains(c.sets[n], spec) {
				c.sets[n] = append(c.sets[n], spec)
			}
		}
	}
	return ""
}

// folder reads conf-dir=FOLDER[,SUFFIX...], where *.conf takes only such files and
// .bak leaves them out.
func (c *dnsmasqConf) folder(value string) error {
	parts := strings.Split(value, ",")
	entries, err := os.ReadDir(parts[0])
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := e.Name()
		if e.IsDir() || strings.HasSuffix(name, "~") || name[0] == '.' || name[0] == '#' || !wanted(name, parts[1:]) {
			continue
		}
		if err := c.read(filepath.Join(parts[0], name)); err != nil {
			return err
		}
	}
	return nil
}

func wanted(name string, suffixes []string) bool {
	only, match := false, false
	for _, s := range suffixes {
		if end, ok := strings.CutPrefix(s, "*"); ok {
			only = true
			match = match || strings.HasSuffix(name, end)
		} else if s != "" && strings.HasSuffix(name, s) {
			return false
		}
	}
	return match || !only
}
