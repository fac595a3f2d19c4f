package daemon

import (
	"context"
	"errors"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/control"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/coredns"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/explain"
	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/dataplane"
	"github.com/nameroute/nameroute/plugin/pkg/chain"
	"github.com/nameroute/nameroute/plugin/pkg/instance"
)

// answers are what commands can ask this process.
func (p *process) answers() map[string]control.Answer {
	all := map[string]control.Answer{"status": func(context.Context, url.Values) (any, error) { return p.status(), nil }}
	for _, m := range p.members {
		if r, ok := m.(*resolver); ok {
			all["explain"] = func(ctx context.Context, v url.Values) (any, error) {
				q, err := explain.ParseRequest(v)
				if err != nil {
					return nil, err
				}
				return r.explain(ctx, q, p.inUse.Load())
			}
		}
	}
	return all
}

// explain returns what is known of a name and of addresses. The name is asked for.
func (r *resolver) explain(ctx context.Context, q explain.Request, f *files) (facts explain.Facts, err error) {
	inst, plane := r.inst.Load(), r.plane.running.Load()
	if inst == nil || plane == nil {
		return facts, errors.New("the resolver has not started yet")
	}
	facts = explain.Facts{Config: f.config.File, Corefile: r.paths.Corefile}
	for _, l := range plane.Lists() {
		one := explain.LoadedList{Name: l.Name, LastGood: l.LastGood}
		if l.Err != nil {
			one.Error = l.Err.Error()
		}
		facts.Lists = append(facts.Lists, one)
	}
	if q.Name != "" {
		at := listenerFor(inst.Listeners(), q)
		r.explainName(&facts, q, at, f)
		ctx, cancel := context.WithTimeout(ctx, askLimit)
		defer cancel()
		for _, t := range q.Types {
			facts.Queries = append(facts.Queries, askNow(ctx, inst, at, q, t))
		}
	}
	for _, a := range addressesOf(q, facts.Queries) {
		facts.Held = append(facts.Held, heldOf(plane, a))
	}
	return facts, nil
}

// explainName says which lists and which block have the name.
func (r *resolver) explainName(facts *explain.Facts, q explain.Request, at coredns.Listener, f *files) {
	asked := instance.Asked{Name: q.Name, Type: dns.TypeA, Client: clientOf(q), At: q.At, Port: at.Port}
	n, _, ok := instance.Explain(r.paths.Config, asked)
	if !ok {
		return
	}
	facts.Listed, facts.Claimed, facts.Alias, facts.Domain, facts.Until = n.Lists, n.Claimed, n.Alias, n.Domain, n.Until
	core, err := f.text.Parse()
	for i, b := range n.Blocks {
		one := explain.Block{Zones: b.Zones, Lists: b.Lists, Class: b.Class, Standing: string(b.Standing)}
		if err == nil && i < len(core.Blocks) {
			one.File, one.Line = core.Blocks[i].File, core.Blocks[i].Line
		}
		if len(b.Routes) > 0 {
			one.Route = b.Routes[0]
		}
		facts.Blocks = append(facts.Blocks, one)
	}
}

// listenerFor returns the listener that a client's queries reach: that of its class, at the
// address that it asks.
func listenerFor(all []coredns.Listener, q explain.Request) (best coredns.Listener) {
	port := ""
	if own := strconv.Itoa(int(gateway.ClassPort(q.Class, 53))); q.Class != "" && slices.ContainsFunc(all, func(l coredns.Listener) bool { return l.Port == own }) {
		port = own
	}
	score := -1
	for _, l := range all {
		a, err := netip.ParseAddr(l.Host)
		n := 0
		switch {
		case port != "" && l.Port != port:
			continue
		case err == nil && a.WithZone("") == q.At.WithZone(""):
			n = 4
		case l.Host == "" || err == nil && a.IsUnspecified():
			n = 2
		}
		if l.Port == "53" {
			n++
		}
		if n > score {
			best, score = l, n
		}
	}
	return best
}

func clientOf(q explain.Request) netip.AddrPort {
	if q.Client.IsValid() {
		return netip.AddrPortFrom(q.Client, 53000)
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 53000)
}

// askLimit is how long the answers are waited for, all together.
const askLimit = 20 * time.Second

// askNow sends a query as the client would.
func askNow(ctx context.Context, inst *coredns.Instance, at coredns.Listener, q explain.Request, qtype string) explain.Query {
	out := explain.Query{Type: qtype, Listener: "dns://" + at.Host + ":" + at.Port}
	here := q.At
	if !here.IsValid() {
		here = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	m := new(dns.Msg).SetQuestion(q.Name, dns.StringToType[qtype])
	m.SetEdns0(dns.DefaultMsgSize, false)
	began := time.Now()
	reply, err := inst.Ask(ctx, at, clientOf(q), netip.AddrPortFrom(here, 53), m)
	out.Seconds = time.Since(began).Seconds()
	if err != nil {
		out.Error = err.Error()
		return out
	}
	out.Rcode = dns.RcodeToString[reply.Rcode]
	if out.Upstream, out.Route = reply.Metadata["upstream/to"], reply.Metadata["upstream/route"]; out.Upstream != "" {
		out.From = explain.FromUpstream
	}
	for _, rr := range reply.Answer {
		out.Answer = append(out.Answer, rr.String())
		for _, a := range chain.AppendAddresses(nil, rr) {
			if !slices.Contains(out.Addrs, a) {
				out.Addrs = append(out.Addrs, a)
			}
		}
	}
	if opt := reply.IsEdns0(); opt != nil {
		for _, o := range opt.Option {
			if e, ok := o.(*dns.EDNS0_EDE); ok {
				out.Reasons = append(out.Reasons, e.ExtraText)
			}
		}
	}
	return out
}

func addressesOf(q explain.Request, queries []explain.Query) []netip.Addr {
	all := slices.Clone(q.Addrs)
	for _, one := range queries {
		for _, a := range one.Addrs {
			if !slices.Contains(all, a) {
				all = append(all, a)
			}
		}
	}
	return all
}

func heldOf(plane *dataplane.Controller, a netip.Addr) explain.Held {
	h := explain.Held{Addr: a}
	excluded, in := plane.Explain(a)
	h.Excluded = excluded
	for _, i := range in {
		one := explain.Holding{Route: i.Route, Set: i.Set, Learned: i.Learned, Left: i.Fact.Left, Permanent: i.Fact.Permanent, Unknown: i.Fact.Unknown, Prefix: i.Listed}
		for _, n := range i.Fact.Names {
			one.Names = append(one.Names, n.Name)
		}
		h.In = append(h.In, one)
	}
	return h
}
