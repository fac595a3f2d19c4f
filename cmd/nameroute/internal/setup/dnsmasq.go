package setup

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/pkg/statefile"
	"github.com/nameroute/nameroute/lists/entry"
)

// dnsmasqConf is what a dnsmasq configuration says about names and resolvers.
type dnsmasqConf struct {
	servers map[string][]string // of a name: its resolvers, some with "@" and an interface; nil: the usual ones
	sets    map[string][]string // of a name: the sets that its addresses go into
	answers map[string][]string // of a name and those below: its fixed addresses; "" is none
	usual   []string            // resolvers of all other names, some with "@" and an interface
	local   localPolicy
	home    homeConf
	lost    []loss
	read    map[string]bool // files
}

func newDnsmasqConf() *dnsmasqConf {
	return &dnsmasqConf{servers: map[string][]string{}, sets: map[string][]string{}, answers: map[string][]string{}, read: map[string]bool{}}
}

// loss is a line of a configuration that is not carried over.
type loss struct {
	file   string
	line   int
	text   string
	reason string
}

func (l loss) String() string { return fmt.Sprintf("%s:%d: %q: %s", l.file, l.line, l.text, l.reason) }

const (
	reasonWildcard = "a '*' within a label is not carried over"
	reasonResolver = "not the address of a resolver, with an interface or without"
	reasonAnswer   = "neither an address nor # or nothing behind the names"
	reasonNoSet    = "want names between slashes, then a set"
	reasonNotText  = "not UTF-8 text, or longer than 64 KiB"
)

// Bounds on the files of a configuration, on a line, and on what is quoted of one.
const (
	maxConfFiles = 10_000
	maxConfLine  = 64 << 10
	maxQuote     = 80
)

// readFile reads a file and the files that it names.
func (c *dnsmasqConf) readFile(file string) error {
	if c.read[file] {
		return nil
	}
	if c.read[file] = true; len(c.read) > maxConfFiles {
		return fmt.Errorf("more than %d files", maxConfFiles)
	}
	f, err := statefile.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	return c.readLines(f, file)
}

// readLines reads the options of a file.
func (c *dnsmasqConf) readLines(r io.Reader, file string) error {
	var errs []error
	lines := bufio.NewReader(r)
	for n := 1; ; n++ {
		line, err := lines.ReadString('\n')
		line = strings.TrimSpace(strings.TrimPrefix(line, "\ufeff"))
		if line != "" && line[0] != '#' {
			reason := reasonNotText
			if len(line) <= maxConfLine && utf8.ValidString(line) && strings.IndexByte(line, 0) < 0 {
				var optErr error
				reason, optErr = c.readOption(cutComment(line))
				errs = append(errs, optErr)
			}
			if reason != "" {
				c.lost = append(c.lost, loss{file, n, excerpt(line), reason})
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			errs = append(errs, err)
			break
		}
	}
	return errors.Join(errs...)
}

// cutComment removes a comment that follows white space.
func cutComment(line string) string {
	for i := 1; i < len(line); i++ {
		if line[i] == '#' && (line[i-1] == ' ' || line[i-1] == '\t') {
			return strings.TrimSpace(line[:i])
		}
	}
	return line
}

// excerpt returns the beginning of a line, fit to be printed.
func excerpt(line string) string {
	r := []rune(strings.ToValidUTF8(line, string(utf8.RuneError)))
	if len(r) > maxQuote {
		r = append(r[:maxQuote], '…')
	}
	for i := range r {
		if !unicode.IsPrint(r[i]) {
			r[i] = utf8.RuneError
		}
	}
	return string(r)
}

// readOption reads one option. The reason says why it is not carried over.
func (c *dnsmasqConf) readOption(line string) (reason string, err error) {
	key, value, _ := strings.Cut(line, "=")
	key, value = strings.TrimSpace(key), strings.Trim(strings.TrimSpace(value), `"`)
	switch key {
	case "server", "local":
		return c.addServer(value), nil
	case "ipset", "nftset":
		return c.addSet(value), nil
	case "address":
		return c.addAnswer(value), nil
	case "conf-file", "servers-file":
		return "", c.readFile(value)
	case "conf-dir":
		return "", c.readDir(value)
	case "":
		return "", nil
	}
	if c.local.readOption(key, value) {
		return "", nil
	}
	return c.home.readOption(key, value), nil
}

// splitNames splits /name/name/rest. Names with wildcards within a label are refused;
// *.name becomes the name, because all entries here include the names below.
func splitNames(value string) (names []string, rest, reason string) {
	end := strings.LastIndexByte(value, '/')
	if end < 1 || value[0] != '/' {
		return nil, value, ""
	}
	for text := range strings.SplitSeq(value[1:end], "/") {
		name, reason := confName(text)
		if reason != "" {
			return nil, "", reason
		}
		names = append(names, name)
	}
	return names, value[end+1:], ""
}

// confName returns a name of an option in its usual form.
func confName(text string) (name, reason string) {
	switch text {
	case "":
		return "", "unqualified names do not go on a list"
	case "#":
		return "", entry.ReasonEveryName
	}
	e, reason := entry.ParsePattern(text)
	if reason == "" && e.Kind == entry.Regexp {
		reason = reasonWildcard
	}
	return e.Text, reason
}

func (c *dnsmasqConf) addServer(value string) (reason string) {
	names, target, reason := splitNames(value)
	if reason != "" {
		return reason
	}
	if len(names) == 0 {
		address, device, ok := parseResolver(target)
		if !ok {
			return reasonResolver
		}
		if device != "" {
			address += "@" + device
		}
		c.usual = append(c.usual, address)
		return ""
	}
	if target == "" { // answered from what is known here
		c.home.domains = append(c.home.domains, names...)
		return ""
	}
	var address []string
	if target != "#" {
		a, device, ok := parseResolver(target)
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
			c.servers[n] = address // "#" and a resolver: the later line counts
		} else if !slices.Contains(have, strings.Join(address, "")) {
			c.servers[n] = append(have, address...)
		}
	}
	return ""
}

// parseResolver turns 192.0.2.1#5353@eth0 into an address as upstream has it, and the
// interface.
func parseResolver(s string) (address, device string, ok bool) {
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
	if device == "lo" {
		device = ""
	}
	if !isInterfaceName(device) {
		return "", "", false
	}
	if !hasPort || port == "53" {
		return a.String(), device, true
	}
	p, err := strconv.ParseUint(port, 10, 16)
	return netip.AddrPortFrom(a, uint16(p)).String(), device, err == nil
}

// isInterfaceName reports whether gateway.yaml takes a name for an interface; "" is none.
func isInterfaceName(name string) bool {
	return len(name) <= gateway.MaxInterfaceName && name != "." && name != ".." &&
		strings.IndexFunc(name, func(c rune) bool { return c <= ' ' || c > '~' || strings.ContainsRune(`/:%"'\*`, c) }) < 0
}

// addAnswer reads address=/name/ADDRESS: the answer for the name and all below it. Nothing,
// '#' and unspecified addresses block the name.
func (c *dnsmasqConf) addAnswer(value string) (reason string) {
	names, target, reason := splitNames(value)
	if reason != "" {
		return reason
	}
	address := ""
	if a, err := netip.ParseAddr(target); err == nil && a.Zone() == "" {
		if address = a.String(); a.IsUnspecified() {
			address = ""
		}
	} else if target != "" && target != "#" {
		return reasonAnswer
	}
	if len(names) == 0 {
		return reasonNoSet
	}
	for _, n := range names {
		if !slices.Contains(c.answers[n], address) {
			c.answers[n] = append(c.answers[n], address)
		}
	}
	return ""
}

func (c *dnsmasqConf) addSet(value string) (reason string) {
	names, target, reason := splitNames(value)
	if reason != "" {
		return reason
	}
	if len(names) == 0 || target == "" {
		return reasonNoSet
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
