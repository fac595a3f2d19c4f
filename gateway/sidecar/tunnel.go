package sidecar

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/provider"
	"github.com/nameroute/nameroute/gateway/wg"
)

// tunnel is a route's WireGuard interface with all that is known of it. It belongs
// to whoever holds the loop's work lock.
type tunnel struct {
	c     *Controller
	route gateway.Route
	file  *provider.File // nil: not read yet
	conf  *provider.Conf // of the file in use; nil: there is none

	dev     *wg.Tunnel // nil: not open
	applied bool       // its device is as wanted, the firewall mark above all
	opened  time.Time
	broken  error // why it is not open or not applied
	retry   backoff

	health *wg.Health
	status wg.Status
	down   bool
	why    string // as it was when it went down

	endpoints map[wgtypes.Key]netip.AddrPort
	resolver  resolving
}

// backoff is the pause after something failed.
type backoff struct {
	at    time.Time // not before
	pause time.Duration
}

func (b *backoff) failed(now time.Time, first, longest time.Duration) {
	b.pause = min(max(2*b.pause, first), longest)
	b.at = now.Add(b.pause)
}

func newTunnel(c *Controller, r gateway.Route) *tunnel {
	return &tunnel{
		c: c, route: r,
		health: wg.NewHealth(c.opts.Timers.Handshake),
	}
}

// setRoute takes over what may change without opening the tunnel again.
func (t *tunnel) setRoute(r gateway.Route) {
	t.route = r
	t.reload()
}

func (t *tunnel) subject(what string) string { return "route " + t.route.Name + ": " + what }

// look reads the file, the device and its counters. It reports whether anything
// changed that the routing depends on.
func (t *tunnel) look(now time.Time) (news bool) {
	news = t.reload()
	if t.dev == nil {
		return news || t.conf != nil && !now.Before(t.retry.at)
	}
	select {
	case <-t.dev.Gone():
		t.reopen()
		return true
	default:
		return t.observe(now) || news
	}
}

// observe takes in the tunnel's counters and reports whether it went down or up.
func (t *tunnel) observe(now time.Time) bool {
	status, err := t.dev.Status()
	t.c.problem(t.subject("read the tunnel"), err)
	if err != nil {
		return false
	}
	t.status = status
	down, why := t.health.Observe(now, status)
	if down == t.down {
		return status.Amiss
	}
	t.down, t.why = down, why
	t.resolver.reset()
	// One that is gone is made again.
	if err := t.dev.KeepTrying(down); err != nil && !errors.Is(err, wg.ErrGone) {
		t.c.log.Error("keep the tunnel trying", "route", t.route.Name, "error", err)
	}
	return true
}

// reload reads the provider's file again if it has changed, and says what follows.
func (t *tunnel) reload() bool {
	file := t.c.providers.Load(t.route)
	if file == t.file {
		return false
	}
	t.file = file
	t.c.problem(t.subject("provider file"), file.Err)
	if file.Err == nil {
		t.c.problem(t.subject("provider file"), t.c.providers.Save(t.route))
		for _, n := range append(slices.Clone(file.Conf.Ignored), file.Conf.Hooks...) {
			t.c.log.Warn("setting of the provider file is not used: "+n.Error(), "route", t.route.Name)
		}
	} else if file.Conf != nil {
		t.c.log.Warn("the tunnel goes on with the last good provider file", "route", t.route.Name, "file", t.route.Egress.File)
	}
	if file.Conf != t.conf {
		t.conf = file.Conf
		t.retry = backoff{}
		t.resolver.reset()
		t.endpoints = literals(t.conf)
	}
	return true
}

func literals(c *provider.Conf) map[wgtypes.Key]netip.AddrPort {
	out := map[wgtypes.Key]netip.AddrPort{}
	for _, p := range c.Peers {
		if a, ok := p.Endpoint.Addr(); ok {
			out[p.PublicKey] = a
		}
	}
	return out
}

// apply opens the tunnel if need be and makes its device what the file says.
func (t *tunnel) apply(cfg *gateway.Config) {
	now := time.Now()
	// A foreign interface in the way is looked for at every event: it may be gone.
	if t.conf == nil || t.dev == nil && now.Before(t.retry.at) && !errors.Is(t.broken, wg.ErrForeign) {
		return
	}
	held := t.dev != nil
	t.broken = t.bringUp(cfg)
	reopened := held && errors.Is(t.broken, wg.ErrGone) // which has said so, and set the pause
	if !reopened {
		t.c.problem(t.subject("tunnel"), t.broken)
	}
	if t.dev == nil && !reopened {
		t.retry.failed(now, t.c.opts.Timers.RetryMin, t.c.opts.Timers.RetryMax)
	} else if t.dev != nil && now.Sub(t.opened) > t.c.opts.Timers.RetryMax {
		t.retry = backoff{}
	}
}

func (t *tunnel) bringUp(cfg *gateway.Config) error {
	if t.dev == nil {
		dev, err := wg.Open(t.route.Egress.Link, wg.Options{
			Alias: wg.Alias(t.route.Name), MTU: t.route.MTU, Userspace: t.c.opts.Userspace,
			Patience: t.c.opts.Timers.Handshake / 12, Log: t.c.log,
		})
		if err != nil {
			return err
		}
		t.dev, t.opened = dev, time.Now()
		t.c.notice(dev.Gone())
	}
	mark := cfg.WANRoute().Mark.Value
	changes, err := t.dev.Apply(wg.Desired(t.conf, t.endpoints, mark))
	t.c.changed(changes, "route", t.route.Name, "link", t.dev.Name())
	switch {
	case errors.Is(err, wg.ErrGone):
		t.reopen()
	case err == nil:
		t.applied = true
		if len(changes) > 0 {
			t.observe(time.Now()) // a link that was down is up now
		}
	case !t.applied:
		// An address that the kernel refuses does not close the route. A missing
		// firewall mark does: the tunnel would swallow its own packets.
		t.applied = marked(t.dev.Name(), mark)
	}
	return err
}

// notice kicks the loop when the tunnel's interface is gone.
func (c *Controller) notice(gone <-chan struct{}) {
	go func() {
		<-gone
		c.Kick()
	}()
}

func marked(link string, mark uint32) bool {
	c, err := wgctrl.New()
	if err != nil {
		return false
	}
	defer c.Close()
	dev, err := c.Device(link)
	return err == nil && uint32(dev.FirewallMark) == mark
}

// reopen forgets an interface that is gone. If it was there for a while it is made
// again at once.
func (t *tunnel) reopen() {
	t.c.log.Warn("the tunnel's interface is gone, it is made again", "route", t.route.Name, "link", t.dev.Name())
	t.close()
	t.health, t.down, t.status = wg.NewHealth(t.c.opts.Timers.Handshake), false, wg.Status{}
	if time.Since(t.opened) > t.c.opts.Timers.RetryMin {
		t.retry = backoff{}
	} else {
		t.retry.failed(time.Now(), t.c.opts.Timers.RetryMin, t.c.opts.Timers.RetryMax)
	}
}

func (t *tunnel) close() {
	if t.dev != nil {
		t.dev.Close()
	}
	t.dev, t.applied = nil, false
}

// problem is why the provider's file is not used, on one line; "" if it is.
func (t *tunnel) problem() string {
	if t.file.Err == nil {
		return ""
	}
	return strings.ReplaceAll(t.file.Err.Error(), "\n", "; ")
}

// closed is why the route has no default; "" if it should have one.
func (t *tunnel) closed() string {
	switch {
	case t.conf == nil:
		return t.problem()
	case t.down:
		return t.why
	case t.applied:
		return ""
	case t.broken != nil:
		return t.broken.Error()
	}
	return fmt.Sprintf("interface %s: not made yet", t.route.Egress.Link)
}

// families are those that the tunnel carries.
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

// removeTunnels deletes interfaces of ours that no route has any more, of an
// earlier run too, and the copies of their files.
func (c *Controller) removeTunnels(cfg *gateway.Config) {
	wanted := func(link string) bool {
		return slices.ContainsFunc(cfg.Routes, func(r gateway.Route) bool {
			return r.Egress.Kind == gateway.EgressWireGuard && r.Egress.Link == link
		})
	}
	c.problem("remove tunnels", c.removeLinks(wanted))
	c.problem("remove provider files", c.providers.Prune(cfg.Routes))
}

func (c *Controller) removeLinks(wanted func(link string) bool) error {
	links, err := wg.Links()
	if err != nil {
		return err
	}
	var errs []error
	for _, link := range links {
		if wanted(link.Name) {
			continue
		}
		if err := wg.Remove(link.Name); err != nil {
			errs = append(errs, err)
			continue
		}
		c.log.Info("changed", "what", "del interface "+link.Name)
	}
	return errors.Join(errs...)
}
