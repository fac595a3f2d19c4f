package sidecar

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/wg"
)

// waitingProbe is the interval between two looks at a tunnel whose first handshake is
// still to come: it is up milliseconds after it is set up.
const (
	waitingProbe = 200 * time.Millisecond
	// waitingTime is how long that may be expected; a first handshake may take days.
	waitingTime = time.Minute
)

// noHandshake is why a tunnel waits, or is down, that has never shaken hands.
const noHandshake = "no handshake yet"

// unseen is what is known of a tunnel before it is read.
var unseen = wg.Observation{State: wg.Waiting, Never: true}

// limits returns those of a route's handshakes.
func (r *reconciler) limits(route gateway.Route) gateway.Handshake {
	h := route.Handshake
	h.Timeout = cmp.Or(r.opts.Timers.First, h.Timeout, gateway.DefaultHandshakeTimeout)
	h.Limit = cmp.Or(r.opts.Timers.Handshake, h.Limit, gateway.DefaultHandshakeLimit)
	return h
}

func (r *reconciler) newHealth(route gateway.Route) *wg.Health { return wg.NewHealth(r.limits(route)) }

// waits reports whether a tunnel is to shake hands for the first time.
func (r *reconciler) waits() bool {
	for _, t := range r.tunnels {
		if t.dev != nil && t.seen.State == wg.Waiting && time.Since(t.opened) < waitingTime {
			return true
		}
	}
	return false
}

// keepTrying has the tunnel send handshakes for as long as nothing is known of its peers
// without one: WireGuard itself waits for a packet to send. A tunnel without an endpoint
// has nowhere to send them to; its first attempt would delay the one after by 5 s.
func (t *tunnel) keepTrying(seen wg.Observation) {
	on := seen.State == wg.Down || seen.Probe || seen.State == wg.Waiting && len(t.status.Endpoints()) > 0 ||
		slices.ContainsFunc(slices.Collect(maps.Values(seen.Peers)), func(s wg.State) bool { return s == wg.Down })
	if on == t.trying {
		return
	}
	err := t.dev.KeepTrying(on)
	if errors.Is(err, wg.ErrGone) {
		return // an interface that is gone is recreated
	}
	t.report("cannot set the keepalive of the tunnel", err)
	if err == nil {
		t.trying = on
	}
}

// explanationChanged reports whether more is known now of why a tunnel that is down has
// never shaken hands, for the log.
func (t *tunnel) explanationChanged() bool {
	if t.seen.State != wg.Down || !t.seen.Never {
		return false
	}
	s, _ := t.r.status.Route(t.route.Name)
	return s.Reason != t.explain()
}

// explain says what is known of a tunnel that has never shaken hands, and what is not.
func (t *tunnel) explain() string {
	endpoints := t.status.Endpoints()
	switch {
	case t.lookupErr != nil:
		return noHandshake + ": the endpoint is not resolved: " + oneLine(t.lookupErr)
	case !slices.ContainsFunc(t.conf.Peers, hasEndpoint):
		return noHandshake + ": no peer has an Endpoint in " + t.conf.File + ", and none has connected to this box"
	case len(endpoints) == 0:
		return noHandshake + ": the endpoint is being resolved"
	}
	var sent, received int64
	for _, p := range t.status.Peers {
		sent, received = sent+p.TX, received+p.RX
	}
	var at []string
	for _, p := range t.conf.Peers {
		if hasEndpoint(p) {
			at = append(at, p.Endpoint.String())
		}
	}
	where := strings.Join(at, ", ")
	switch {
	case t.refused != nil:
		return fmt.Sprintf("%s: %s: %v: %s", noHandshake, where, t.refused, refusedBy(t.refused))
	case sent == 0:
		return fmt.Sprintf("%s: nothing can be sent to %s: the WAN has no way there", noHandshake, where)
	case received > 0:
		return fmt.Sprintf("%s: %s is heard, but does not hear this box, or refuses it: check the clock (date) and that no other box uses the same key", noHandshake, where)
	}
	return fmt.Sprintf("%s: sent to %s, nothing came back: not known is whether it is off, UDP to it is blocked, or a key is wrong, which WireGuard never answers", noHandshake, where)
}

// refusedBy says what a refusal tells of an endpoint.
func refusedBy(err error) string {
	switch {
	case errors.Is(err, unix.ECONNREFUSED):
		return "no WireGuard runs there"
	case errors.Is(err, unix.EACCES):
		return "a firewall on the way rejects it"
	}
	return "the host cannot be reached"
}

func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }
