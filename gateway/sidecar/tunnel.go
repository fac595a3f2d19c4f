package sidecar

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/provider"
	"github.com/nameroute/nameroute/gateway/wg"
)

// tunnel is a route's WireGuard interface with all that is known of it.
type tunnel struct {
	r     *reconciler
	route gateway.Route
	file  *provider.File // nil: not read yet
	conf  *provider.Conf // of the file in use; nil: there is none

	dev     *openDevice // nil: not open
	trying  bool        // it sends handshakes until one is answered
	applied bool        // its device is as desired, above all its firewall mark
	held    bool        // it gets its peers when the nft table is there
	opened  time.Time
	failure error // why it is not open or not applied
	retry   backoff

	health *wg.Health
	seen   wg.Observation           // as it was when its state changed last
	peers  map[wgtypes.Key]wg.State // what is known of each, where there are several
	status wg.Status

	endpoints map[wgtypes.Key]netip.AddrPort
	resolver  resolver
	lookupErr error // of the endpoints' names; nil: none, or not looked up yet
	refused   error // by an endpoint's host or a router: nothing is there
}

// backoff is the pause after failures.
type backoff struct {
	at    time.Time // not before
	pause time.Duration
}

func (b *backoff) failed(now time.Time, first, longest time.Duration) {
	b.pause = min(max(2*b.pause, first), longest)
	b.at = now.Add(b.pause)
}

func newTunnel(r *reconciler, route gateway.Route) *tunnel {
	return &tunnel{r: r, route: route, health: r.newHealth(route), seen: unseen}
}

// setRoute replaces what may change without opening the tunnel again.
func (t *tunnel) setRoute(r gateway.Route) {
	t.route = r
	t.health.SetLimits(t.r.limits(r))
	t.reloadFile()
}

// report logs an error of the tunnel once, until it changes or has gone. It reports
// whether it has gone.
func (t *tunnel) report(message string, err error) (ended bool) {
	changed, ended := t.r.problems.Error("route "+t.route.Name+": "+message, err)
	if changed {
		t.r.log.Error(message, "route", t.route.Name, "error", err)
	}
	return ended
}

// observe reads the file, the device and its counters. It reports whether anything has
// changed that the routing depends on.
func (t *tunnel) observe(now time.Time) (changed bool) {
	changed = t.reloadFile()
	if t.dev == nil {
		return changed || t.conf != nil && !now.Before(t.retry.at)
	}
	select {
	case <-t.dev.gone:
		t.reopen()
		return true
	default:
		return t.observeDevice(now) || changed
	}
}

// observeDevice reads the tunnel's counters and reports whether it went down or up, or
// its device has drifted.
func (t *tunnel) observeDevice(now time.Time) (changed bool) {
	status, err := t.dev.Status()
	t.report("cannot read the tunnel", err)
	if err != nil {
		return false
	}
	t.status = status
	if t.held && status.LinkUp && len(status.Peers) == 0 {
		return status.Drifted
	}
	seen := t.health.Observe(now, status)
	t.keepTrying(seen)
	silent := t.silentPeers()
	t.peers = seen.Peers
	t.logPeers(silent, t.silentPeers())
	if seen.State == t.seen.State && slices.Equal(silent, t.silentPeers()) {
		return status.Drifted || t.explanationChanged()
	}
	t.seen = seen
	t.resolver.reset()
	return true
}

// reloadFile reads the provider's file if it has changed, and logs what follows from it.
func (t *tunnel) reloadFile() (changed bool) {
	file := t.r.providers.Load(t.route)
	if file == t.file {
		return false
	}
	t.file = file
	if t.report("cannot use the provider file", file.Err) {
		t.r.log.Info("the provider file can be used again", "route", t.route.Name, "file", t.route.Egress.File)
	}
	if file.Err == nil {
		t.report("cannot store the provider file", t.r.providers.Save(t.route))
		for _, n := range append(slices.Clone(file.Conf.Ignored), file.Conf.Hooks...) {
			t.r.log.Warn("setting of the provider file is not used: "+n.Error(), "route", t.route.Name)
		}
	} else if file.Conf != nil {
		t.r.log.Warn("keeping the last good provider file", "route", t.route.Name, "file", t.route.Egress.File)
	}
	if file.Conf != t.conf {
		t.conf = file.Conf
		t.retry = backoff{}
		t.resolver.reset()
		t.endpoints = literalEndpoints(t.conf)
		t.lookupErr, t.refused = nil, nil
	}
	return true
}

func literalEndpoints(c *provider.Conf) map[wgtypes.Key]netip.AddrPort {
	out := map[wgtypes.Key]netip.AddrPort{}
	for _, p := range c.Peers {
		if a, ok := p.Endpoint.Addr(); ok {
			out[p.PublicKey] = a
		}
	}
	return out
}

// apply opens the tunnel if need be and brings its device to what the file says. It
// reports whether the kernel may have changed.
func (t *tunnel) apply(cfg *gateway.Config, table bool) (changed bool) {
	now := time.Now()
	// A foreign interface in its place is looked for at every event: it may be gone.
	if t.conf == nil || t.dev == nil && now.Before(t.retry.at) && !errors.Is(t.failure, wg.ErrForeign) {
		return false
	}
	held := t.dev != nil
	changed, t.failure = t.bringUp(cfg, table)
	reopened := held && errors.Is(t.failure, wg.ErrGone) // logged already, and its pause is set
	if !reopened {
		t.report("cannot set up the tunnel", t.failure)
	}
	if t.dev == nil && !reopened {
		t.retry.failed(now, t.r.opts.Timers.RetryMin, t.r.opts.Timers.RetryMax)
	} else if t.dev != nil && now.Sub(t.opened) > t.r.opts.Timers.RetryMax {
		t.retry = backoff{}
	}
	return changed || t.failure != nil
}

// bringUp sets the device up. A tunnel whose far end is to open no connections gets its peers
// when the nft table is there, which refuses them; until then packets wait for them.
func (t *tunnel) bringUp(cfg *gateway.Config, table bool) (changed bool, err error) {
	if t.dev == nil {
		dev, err := t.r.devices.Open(t.route.Egress.Link, t.r.deviceOptions(t.route))
		if err != nil {
			return false, err
		}
		t.dev, t.opened, changed = dev, time.Now(), true
		go func() {
			<-dev.gone
			t.r.trigger()
		}()
	}
	mark := cfg.WANRoute().Mark.Value
	want := wg.Desired(t.conf, t.endpoints, mark)
	t.held = !table && !t.route.AcceptInbound
	if want.Unready = t.held; !t.route.AcceptInbound {
		want.Group = gateway.RefusingGroup
	}
	changes, err := t.dev.Apply(want)
	t.r.logChanges(changes, "route", t.route.Name, "link", t.route.Egress.Link)
	switch {
	case errors.Is(err, wg.ErrGone):
		t.reopen()
	case err == nil:
		t.applied = true
		if len(changes) > 0 {
			t.observeDevice(time.Now()) // a link that was down is up now
		}
	case !t.applied:
		// An address that the kernel refuses does not close the route. A missing firewall
		// mark does: the tunnel's own packets would be routed into it.
		status, err := t.dev.Status()
		t.applied = err == nil && status.FirewallMark == mark
	}
	return changed || len(changes) > 0, err
}

// reopen closes an interface that is gone. One that existed for a while is recreated at
// once.
func (t *tunnel) reopen() {
	t.r.log.Warn("tunnel interface is gone, recreating it", "route", t.route.Name, "link", t.route.Egress.Link)
	t.close()
	t.health, t.seen, t.peers, t.trying, t.status = t.r.newHealth(t.route), unseen, nil, false, wg.Status{}
	if time.Since(t.opened) > t.r.opts.Timers.RetryMin {
		t.retry = backoff{}
	} else {
		t.retry.failed(time.Now(), t.r.opts.Timers.RetryMin, t.r.opts.Timers.RetryMax)
	}
}

func (t *tunnel) close() {
	if t.dev != nil {
		t.dev.Close()
	}
	t.dev, t.applied = nil, false
}

// fileProblem is why the provider's file is not used, on one line; "" if it is.
func (t *tunnel) fileProblem() string {
	if t.file.Err == nil {
		return ""
	}
	return oneLine(t.file.Err)
}

// closedReason is why the route has no default; "" if it is to have one.
func (t *tunnel) closedReason() string {
	switch {
	case t.conf == nil:
		return t.fileProblem()
	case t.seen.State == wg.Down && t.seen.Never:
		return noHandshake
	case t.seen.State == wg.Down:
		return t.seen.Reason
	case t.applied:
		return ""
	case t.failure != nil:
		return t.failure.Error()
	}
	return fmt.Sprintf("interface %s: not created yet", t.route.Egress.Link)
}

// families returns those that the tunnel carries.
func (t *tunnel) families() []gateway.Family {
	var out []gateway.Family
	if t.conf == nil {
		return out
	}
	v4, v6 := t.conf.Families()
	if v4 {
		out = append(out, gateway.V4)
	}
	if v6 {
		out = append(out, gateway.V6)
	}
	return out
}
