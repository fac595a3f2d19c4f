package config

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/pkg/problem"
)

// plainTags are the tags of values that are written without one.
var plainTags = []string{"!!str", "!!int", "!!float", "!!bool", "!!timestamp"}

// text reads a single value that is not empty.
func (v value) text(want string) (string, bool) {
	switch {
	case v.node.Kind != yaml.ScalarNode || v.empty():
		v.problem("is "+v.kind(), want)
	case !slices.Contains(plainTags, v.node.ShortTag()):
		v.problem("has the tag "+v.node.Tag, want)
	case v.node.Value == "":
		v.problem("is empty", want)
	default:
		return v.node.Value, true
	}
	return "", false
}

// word reads one of a few known words.
func (v value) word(known ...string) (string, bool) {
	s, ok := v.text(problem.DidYouMean("", known))
	if ok && !slices.Contains(known, s) {
		v.problem("unknown value", problem.DidYouMean(s, known))
		return "", false
	}
	return s, ok
}

// number reads a whole number, decimal or hex.
func (v value) number(lowest, highest int) (int, bool) {
	n, ok := v.unsigned(fmt.Sprintf("want a whole number from %d to %d", lowest, highest))
	if ok && (n < uint64(lowest) || n > uint64(highest)) {
		v.problem("out of range", fmt.Sprintf("want %d to %d", lowest, highest))
		return 0, false
	}
	return int(n), ok
}

// unsigned reads a whole number. Leading zeros are refused, as YAML 1.1 reads octal there.
// A number that is negative or too large counts as the largest.
func (v value) unsigned(want string) (uint64, bool) {
	s, ok := v.text(want)
	if !ok {
		return 0, false
	}
	if len(s) > 1 && s[0] == '0' && s[1] != 'x' && s[1] != 'X' {
		v.problem("not a decimal or 0x hexadecimal number", want)
		return 0, false
	}
	n, err := strconv.ParseUint(strings.TrimPrefix(s, "-"), 0, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		v.problem("not a whole number", want)
		return 0, false
	}
	if err != nil || s[0] == '-' {
		n = 1<<64 - 1
	}
	return n, true
}

// duration reads a time with its unit. Zero is refused.
func (v value) duration() (time.Duration, bool) {
	const want = "want a number with its unit, such as 90s, 10m or 24h"
	s, ok := v.text(want)
	if !ok {
		return 0, false
	}
	d, err := time.ParseDuration(s)
	switch {
	case err != nil:
		v.problem("not a duration", want)
	case d <= 0:
		v.problem("not a positive duration", want)
	case d > maxLifetime:
		v.problem("out of range", "want at most "+shortDuration(maxLifetime))
	default:
		return d, true
	}
	return 0, false
}

// maxLifetime is a year, far above any useful lifetime: the sum of two does not overflow,
// and every kernel accepts it as a timeout.
const maxLifetime = 8760 * time.Hour

// shortDuration prints 1h where time.Duration has 1h0m0s.
func shortDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-len("0s")]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-len("0m")]
	}
	return s
}

// link reads the name of an interface.
func (v value) link() (string, bool) {
	s, ok := v.text("want the name of an interface")
	if !ok {
		return "", false
	}
	if why, want := badLink(s); why != "" {
		v.problem(why, want)
		return "", false
	}
	return s, true
}

// links reads a list of interfaces without duplicates.
func (v value) links() []string {
	var names []string
	for _, item := range v.items("want a list of interfaces, such as [br-lan]") {
		name, ok := item.link()
		switch {
		case !ok:
		default:
			addOnce(&names, item, name)
		}
	}
	return names
}

// path reads the path of a file and makes it absolute.
func (v value) path(want string) (string, bool) {
	s, ok := v.text(want)
	switch {
	case !ok:
		return "", false
	case strings.Contains(s, "://"):
		v.problem("is a URL", want)
		return "", false
	case strings.ContainsRune(s, 0) || strings.HasSuffix(s, "/"):
		v.problem("not the path of a file", want)
		return "", false
	case !filepath.IsAbs(s):
		s = filepath.Join(v.r.dir, s)
	}
	return filepath.Clean(s), true
}

// host reads the address of one host, without a zone.
func (v value) host(want string) (netip.Addr, bool) {
	s, ok := v.text(want)
	if !ok {
		return netip.Addr{}, false
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		v.problem("not an address", want)
		return netip.Addr{}, false
	}
	a = a.Unmap()
	switch why := notHost(a); {
	case why != "":
		v.problem(why, want)
	case a.IsLoopback():
		v.problem("is a loopback address", want)
	case a.Zone() != "":
		v.problem("has a zone", "want "+a.WithZone("").String()+" and interface: "+a.Zone())
	default:
		return a, true
	}
	return netip.Addr{}, false
}

// pair reads one address, or one of each family, in the order of the file.
func (v value) pair(want string) []netip.Addr {
	var pair []netip.Addr
	if v.node.Kind == yaml.SequenceNode && len(v.node.Content) == 0 {
		v.problem("is an empty list", want)
	}
	for _, item := range v.items(want) {
		a, ok := item.host(want)
		same := func(b netip.Addr) bool { return gateway.FamilyOf(a) == gateway.FamilyOf(b) }
		switch {
		case !ok:
		case slices.ContainsFunc(pair, same):
			item.problem("second IPv"+strconv.Itoa(int(gateway.FamilyOf(a)))+" address", "want at most one of each family")
		default:
			pair = append(pair, a)
		}
	}
	return pair
}

// resolver reads the address of a resolver, with or without a port.
func (v value) resolver() (netip.AddrPort, bool) {
	const want = "want an address, or address:port with an IPv6 address in brackets"
	s, ok := v.text(want)
	if !ok {
		return netip.AddrPort{}, false
	}
	ap, err := netip.ParseAddrPort(s)
	if err != nil {
		a, aerr := netip.ParseAddr(s)
		if aerr != nil {
			v.problem("not the address of a resolver", want)
			return netip.AddrPort{}, false
		}
		ap = netip.AddrPortFrom(a, 53)
	}
	ap = netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	if why := notHost(ap.Addr()); why != "" {
		v.problem(why, want)
		return netip.AddrPort{}, false
	}
	if ap.Port() == 0 {
		v.problem("port 0 is not valid", want)
		return netip.AddrPort{}, false
	}
	if ap.Addr().IsLinkLocalUnicast() && ap.Addr().Is6() && ap.Addr().Zone() == "" {
		v.problem("link-local address without an interface", "want "+ap.Addr().String()+"%INTERFACE")
		return netip.AddrPort{}, false
	}
	return ap, true
}

func notHost(a netip.Addr) string {
	switch {
	case a.IsUnspecified():
		return "is the unspecified address"
	case a.IsMulticast():
		return "is a multicast address"
	case a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return "is the broadcast address"
	}
	return ""
}

// prefix reads a prefix. An address is a prefix of its full length.
func (v value) prefix() (netip.Prefix, bool) {
	const want = "want a prefix or an address, such as 198.51.100.0/24 or 2001:db8::1"
	s, ok := v.text(want)
	if !ok {
		return netip.Prefix{}, false
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		a, aerr := netip.ParseAddr(s)
		if aerr != nil || a.Zone() != "" {
			v.problem("not a prefix or an address", "want for example 198.51.100.0/24 or 2001:db8::1")
			return netip.Prefix{}, false
		}
		p = netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen())
	}
	switch {
	case p.Addr().Is4In6():
		v.problem("is an IPv4-mapped prefix", "want it as IPv4")
	case p != p.Masked():
		v.problem("has host bits set", "want "+p.Masked().String())
	default:
		return p, true
	}
	return netip.Prefix{}, false
}
