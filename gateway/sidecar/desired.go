package sidecar

import (
	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/policy"
	"github.com/nameroute/nameroute/gateway/programs"
	"github.com/nameroute/nameroute/gateway/unlisted"
)

// desired returns what the kernel is to have, with the programs that were found. With choose,
// groups take their members.
func (r *reconciler) desired(cfg *gateway.Config, in policy.Inputs, found map[string]gateway.Programs, choose bool) policy.State {
	want := policy.Desired(cfg, in)
	r.addGroups(cfg, &want, choose)
	programs.AddRules(cfg, in, found, &want)
	unlisted.Add(&want, cfg, in)
	return want
}
