package sidecar

import (
	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/policy"
	"github.com/nameroute/nameroute/gateway/programs"
	"github.com/nameroute/nameroute/gateway/unlisted"
)

// desired returns what the kernel is to have: of in, the rules of programs and of the default
// routes, and of withTunnels all else. With choose, groups take their members.
func (r *reconciler) desired(cfg *gateway.Config, in, withTunnels policy.Inputs, choose bool) policy.State {
	want := policy.Desired(cfg, withTunnels)
	r.addGroups(cfg, &want, choose)
	programs.AddRules(cfg, in, programs.Find(cfg.Clients), &want)
	unlisted.Add(&want, cfg, in)
	return want
}
