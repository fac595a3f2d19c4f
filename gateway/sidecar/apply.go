package sidecar

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/policy"
)

// apply brings everything to the wanted state.
func (c *Controller) apply(cfg *gateway.Config, ready bool) {
	in, err := c.kernel.Look(cfg)
	if err != nil {
		c.problem("kernel", err)
		return
	}
	c.choose(cfg)
	early, err := c.closeDoors(cfg, in)
	if err != nil {
		c.problem("closed door", err)
		return // without it nothing that is more open is made
	}
	c.problem("closed door", nil)
	c.removeTunnels(cfg)
	for _, t := range c.tunnels {
		t.apply(cfg)
	}
	if in, err = c.kernel.Look(cfg); err != nil { // the tunnels have changed links and addresses
		c.problem("kernel", err)
		return
	}
	c.problem("kernel", nil)
	want := policy.Desired(cfg, c.inputs(in))
	have, err := c.kernel.Read()
	if err != nil {
		c.problem("kernel", err)
		return
	}
	c.problem("policy rules", mainRule(have))
	late, err := c.kernel.Apply(want)
	c.changed(late)
	c.problem("policy routing", err)
	c.storm.note(c.looked, append(early, late...))
	c.problem("conntrack", c.forgetFlows(have, want))
	c.followed(cfg, want)
	if ready {
		c.forward(cfg, want)
	}
	c.remember(cfg, want)
}

// mainRule is an error where somebody has flushed the kernel's own rule too. It is not
// ours to put back: some boxes have others in its place, or none on purpose.
func mainRule(have policy.State) error {
	if len(have.NoMain) == 0 {
		return nil
	}
	var errs []error
	for _, f := range have.NoMain {
		errs = append(errs, fmt.Errorf("nothing leads to table main of IPv%d, so that what takes no route of ours is not routed: ip -%d rule add lookup main pref 32766", f, f))
	}
	return errors.Join(errs...)
}

// choose makes the list of tunnels that of the configuration. Those of routes that
// are gone are closed here; their interfaces are removed when the doors are closed.
func (c *Controller) choose(cfg *gateway.Config) {
	wanted := map[string]bool{}
	for _, r := range cfg.Routes {
		if r.Egress.Kind != gateway.EgressWireGuard {
			continue
		}
		wanted[r.Name] = true
		t := c.tunnels[r.Name]
		if t != nil && (t.route.Egress.Link != r.Egress.Link || t.route.MTU != r.MTU) {
			t.close() // opened again with the new ones; removeTunnels takes the old link away
			t = nil
		}
		if t == nil {
			t = newTunnel(c, r)
			c.tunnels[r.Name] = t
		}
		t.setRoute(r)
	}
	for name, t := range c.tunnels {
		if !wanted[name] {
			t.close()
			delete(c.tunnels, name)
		}
	}
}

// closeDoors sets up rules and backstops, and takes nothing away: defaults that are
// there, of the last run too, lead into interfaces that are about to be taken over
// or put right.
func (c *Controller) closeDoors(cfg *gateway.Config, in policy.Inputs) (changes []string, err error) {
	want := policy.Desired(cfg, c.inputs(in))
	have, err := c.kernel.Read()
	if err != nil {
		return nil, err
	}
	changes, err = c.kernel.Apply(want.With(have))
	c.changed(changes)
	if err == nil {
		return changes, nil
	}
	// What else failed is tried again below, and reported there.
	if closed, err2 := c.kernel.Closed(want); err2 != nil || !closed {
		return changes, errors.Join(err, err2)
	}
	return changes, nil
}

// inputs adds what the tunnels know.
func (c *Controller) inputs(in policy.Inputs) policy.Inputs {
	in.Closed, in.Families = map[string]string{}, map[string][]gateway.Family{}
	for name, t := range c.tunnels {
		if why := t.closed(); why != "" {
			in.Closed[name] = why
		}
		in.Families[name] = t.families()
	}
	return in
}

// followed notices that the WAN is another one than before.
func (c *Controller) followed(cfg *gateway.Config, want policy.State) {
	wan := policy.State{}
	for _, r := range want.KernelRoutes {
		if r.Table == cfg.WANRoute().Table && !r.Unreachable {
			wan.KernelRoutes = append(wan.KernelRoutes, r)
		}
	}
	if text := wan.String(); text != c.wan {
		c.wan = text
		for _, t := range c.tunnels {
			t.wanChanged()
		}
	}
}

// forward switches forwarding on where there is anybody to forward for, and a way
// out of the box: an interface that is to become the WAN by a router advertisement
// would take none any more, and until then nobody knows which one that is.
func (c *Controller) forward(cfg *gateway.Config, want policy.State) {
	out := slices.ContainsFunc(cfg.AllRoutes(), func(r gateway.Route) bool {
		_, waits := want.Waiting[r.Name]
		return r.Egress.Kind != gateway.EgressWireGuard && !waits
	})
	if !out || !slices.ContainsFunc(cfg.LAN, func(link string) bool { return link != "lo" }) {
		return
	}
	links := slices.Clone(cfg.LAN)
	for _, s := range want.Sysctls {
		links = append(links, s.Link)
	}
	changes, err := c.kernel.Forward(links...)
	c.changed(changes)
	c.problem("forwarding", err)
}

// storm notices changes that do not last: somebody else undoes them at once, or the
// kernel keeps them in another form.
type storm struct {
	text  string
	times int
	since time.Time
}

// A change that was made 20 times in a row, every 100 ms or faster, slows the loop down.
const (
	stormTimes = 20
	stormPace  = 100 * time.Millisecond
)

func (s *storm) note(now time.Time, changes []string) {
	slices.Sort(changes)
	text := strings.Join(slices.Compact(changes), "\n") // undone between two steps of an apply, it is made twice
	if text != s.text || text == "" {
		*s = storm{text: text, since: now}
	}
	s.times++
}

func (s *storm) blows(now time.Time) bool {
	return s.text != "" && s.times >= stormTimes && now.Sub(s.since) < time.Duration(s.times)*stormPace
}
