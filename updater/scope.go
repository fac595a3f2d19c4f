package updater

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"

	"github.com/nameroute/nameroute/gateway"
)

// scope is from where an address can be reached. A redirect leads to the same scope or to a
// wider one, never to a narrower: whoever runs a server on the internet, or has its name,
// must not choose what this box asks of the LAN, of itself, or of a cloud's metadata service.
type scope int

const (
	scopePublic  scope = iota
	scopePrivate       // private and special-use addresses, and networks of this box
	scopeBox           // this box alone
)

func (s scope) String() string {
	return [...]string{"a public address", "a private address", "an address of this box"}[s]
}

// scopeOf returns the scope of an address. own are the addresses of this box with the
// networks that they are in: those of a LAN are public with IPv6. An address that an IPv4
// address is in has the scope of that one, if it is the narrower.
func scopeOf(a netip.Addr, own []netip.Prefix) scope {
	a = a.Unmap().WithZone("")
	s := scopePublic
	switch {
	case a.IsLoopback(), a.IsUnspecified():
		return scopeBox
	case gateway.IsSpecial(a), compatible4.Contains(a):
		s = scopePrivate
	}
	for _, p := range own {
		switch {
		case p.Addr().Unmap() == a:
			return scopeBox
		case p.Bits() > 0 && p.Contains(a):
			s = scopePrivate
		}
	}
	if v4, ok := embedded4(a); ok {
		s = max(s, scopeOf(v4, own))
	}
	return s
}

var (
	compatible4 = netip.MustParsePrefix("::/96")        // RFC 4291 2.5.5.1, deprecated
	nat64       = netip.MustParsePrefix("64:ff9b::/96") // RFC 6052
	sixToFour   = netip.MustParsePrefix("2002::/16")    // RFC 3056
	teredo      = netip.MustParsePrefix("2001::/32")    // RFC 4380: the client's address is inverted
	isatap      = [4]byte{0x00, 0x00, 0x5e, 0xfe}       // RFC 5214, the universal bit cleared
)

// embedded4 returns the IPv4 address that packets to an IPv6 address may be sent to.
func embedded4(a netip.Addr) (netip.Addr, bool) {
	if !a.Is6() {
		return a, false
	}
	b := a.As16()
	tail := [4]byte(b[12:])
	switch {
	case nat64.Contains(a), compatible4.Contains(a), [4]byte{b[8] &^ 2, b[9], b[10], b[11]} == isatap:
		return netip.AddrFrom4(tail), true
	case sixToFour.Contains(a):
		return netip.AddrFrom4([4]byte(b[2:6])), true
	case teredo.Contains(a):
		return netip.AddrFrom4([4]byte{^tail[0], ^tail[1], ^tail[2], ^tail[3]}), true
	}
	return a, false
}

// ownNetworks returns the addresses of this box, each with its network.
func ownNetworks() ([]netip.Prefix, error) {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("addresses of this box: %w", err)
	}
	var own []netip.Prefix
	for _, a := range all {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			own = append(own, p)
		}
	}
	return own, nil
}

// visit is one request with its redirects. Each request connects anew (see newClient), so
// that the address of every step is seen here.
type visit struct {
	mu      sync.Mutex
	at      scope // of the step that was connected to last
	limit   scope // the narrowest that the next step may be; of the user's own URL, any
	proxied bool  // the step is the proxy's to resolve
}

type visitKey struct{}

// withVisit returns a context for a request to a URL that the user wrote.
func withVisit(ctx context.Context) context.Context {
	return context.WithValue(ctx, visitKey{}, &visit{limit: scopeBox})
}

// visitOf returns the visit of a context, or one that allows only public addresses.
func visitOf(ctx context.Context) *visit {
	if v, ok := ctx.Value(visitKey{}).(*visit); ok {
		return v
	}
	return &visit{}
}

// redirected limits the next step by the one before.
func (v *visit) redirected() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.limit = min(v.limit, v.at)
}

// check returns an error for an address that the step must not connect to, and records the
// scope of one that it may.
func (v *visit) check(host string, s scope) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if s > v.limit {
		return fmt.Errorf("redirect from %v to %s, which is %v: if that is wanted, write its URL into gateway.yaml", v.limit, host, s)
	}
	v.at = s
	return nil
}

func (v *visit) isProxied() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.proxied
}

// throughProxy wraps a choice of proxies. A proxy resolves the names itself, so that only
// hosts that name a scope themselves can be refused.
func throughProxy(proxy func(*http.Request) (*url.URL, error), scopeOf func(netip.Addr) scope) func(*http.Request) (*url.URL, error) {
	return func(r *http.Request) (*url.URL, error) {
		u, err := proxy(r)
		v := visitOf(r.Context())
		v.mu.Lock()
		v.proxied = u != nil
		v.mu.Unlock()
		if err != nil || u == nil {
			return u, err
		}
		return u, v.check(r.URL.Hostname(), hostScope(r.URL.Hostname(), scopeOf))
	}
}

// hostScope returns the scope of a host as far as its text tells it. What is no name of the
// public DNS, such as an address in one of its older notations, is at least private.
func hostScope(host string, scopeOf func(netip.Addr) scope) scope {
	if a, err := netip.ParseAddr(host); err == nil {
		return scopeOf(a)
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	top := host[strings.LastIndexByte(host, '.')+1:]
	switch {
	case top == "localhost":
		return scopeBox
	case top == host, top == "", top[0] >= '0' && top[0] <= '9', top == "local", top == "internal", top == "lan", strings.HasSuffix(host, ".home.arpa"):
		return scopePrivate
	}
	return scopePublic
}
