package probe

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/output"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/status"
	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/pkg/markdial"
	"github.com/nameroute/nameroute/gateway/policy"
	"github.com/nameroute/nameroute/gateway/provider"
	"github.com/nameroute/nameroute/gateway/resolvers"
	"github.com/nameroute/nameroute/gateway/wg"
)

const (
	// sessionAge is the age up to which a handshake proves that the peer is there: WireGuard
	// renews a session in use after 120 s.
	sessionAge = 2 * time.Minute
	// handshakeWait is the time that a handshake may take: two attempts, 5 s apart.
	handshakeWait = 7 * time.Second
	handshakePoll = 100 * time.Millisecond
)

// handshake looks at a tunnel's last handshake and, where that is old, has it shake hands:
// by one packet into it.
func handshake(ctx context.Context, cfg *gateway.Config, route gateway.Route) []status.Finding {
	link := route.Egress.Link
	s, err := wg.Read(link)
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return one(status.LevelUnknown, "route %s: whether its tunnel shakes hands: %v: run check as root", route.Name, err)
	case err != nil:
		return one(status.LevelUnknown, "route %s: whether its tunnel shakes hands: %v: nameroute run", route.Name, err)
	}
	began := time.Now()
	if began.Sub(s.LastHandshake()) < sessionAge {
		return one(status.LevelOK, "route %s: %s shook hands %s ago", route.Name, link, output.Duration(began.Sub(s.LastHandshake())))
	}
	sent := wake(cfg, route)
	for wait := time.NewTicker(handshakePoll); ctx.Err() == nil && time.Since(began) < handshakeWait; <-wait.C {
		if s, err = wg.Read(link); err == nil && s.LastHandshake().After(began.Add(-sessionAge)) {
			return one(status.LevelOK, "route %s: %s shook hands now", route.Name, link)
		}
	}
	var at []string
	mark := cfg.WANRoute().Mark
	for _, e := range s.Endpoints() {
		text := e.String()
		if err := wg.Refused(ctx, e, mark); err != nil {
			text += " (" + err.Error() + ")"
		}
		at = append(at, text)
	}
	last := "never"
	if t := s.LastHandshake(); !t.IsZero() {
		last = output.Duration(began.Sub(t)) + " ago"
	}
	if !sent {
		return one(status.LevelUnknown, "route %s: %s shook hands last %s, and no packet can be sent into it to make it: the route is down, or has no address", route.Name, link, last)
	}
	return one(status.LevelError, "route %s: no handshake of %s with %s within %v, the last one %s: the peer is off, UDP to it is blocked, or a key is wrong: compare them with the provider's", route.Name, link, output.OrDash(strings.Join(at, ", ")), handshakeWait, last)
}

// wake sends one byte into the tunnel, to the discard port of an address behind it.
func wake(cfg *gateway.Config, route gateway.Route) bool {
	states, err := policy.Routes(cfg)
	if err != nil {
		return false
	}
	if !states[route.Name].Up() {
		return true // the running process has it try, every 5 s
	}
	for f, to := range faraway {
		if up := f == gateway.V4 && states[route.Name].Default4 || f == gateway.V6 && states[route.Name].Default6; !up || wrongEgress(route, states[route.Name], to) != "" {
			continue
		}
		c, err := markdial.Dialer(route.Mark, attemptLimit).Dial("udp", netip.AddrPortFrom(to, discardPort).String())
		if err != nil {
			continue
		}
		_, err = c.Write([]byte{0})
		c.Close()
		if err == nil {
			return true
		}
	}
	return false
}

const discardPort = 9 // RFC 863

// endpoints resolves the names of a tunnel's endpoints, as the program does.
func endpoints(ctx context.Context, cfg *gateway.Config, route gateway.Route) []status.Finding {
	conf, err := provider.Load(route.Egress.File)
	if err != nil {
		return nil // reported with the file
	}
	var found []status.Finding
	for _, p := range conf.Peers {
		if _, literal := p.Endpoint.Addr(); literal || p.Endpoint.IsZero() {
			continue
		}
		servers, err := resolvers.Find(cfg)
		if err != nil {
			return one(status.LevelError, "route %s: endpoint %s: %v", route.Name, p.Endpoint, err)
		}
		addrs, err := markdial.Client{Servers: servers.Servers, Mark: cfg.WANRoute().Mark, Timeout: attemptLimit}.LookupNetIP(ctx, p.Endpoint.Host)
		if err != nil {
			found = append(found, status.Found(status.LevelError, "route %s: endpoint %s: %v", route.Name, p.Endpoint, err))
			continue
		}
		var words []string
		for _, a := range addrs {
			words = append(words, a.String())
		}
		found = append(found, status.Found(status.LevelOK, "route %s: endpoint %s is %s, say the WAN's resolvers", route.Name, p.Endpoint, strings.Join(words, ", ")))
	}
	return found
}
