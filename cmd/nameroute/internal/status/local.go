package status

import (
	"fmt"
	"io"
	"net/netip"
	"strings"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/output"
	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/policy"
)

// Local is what takes precedence over the routes, and what of table main does not.
type Local struct {
	Networks []Network `json:"networks"`
	Others   []Network `json:"others,omitempty"`   // kernel routes of table main that are not local, the shortest prefixes
	More     int       `json:"more,omitempty"`     // and how many there are besides
	TooMany  int       `json:"too_many,omitempty"` // local networks behind gateways that are not in force, because there are so many
}

// Network is one of these destinations.
type Network struct {
	Prefix  netip.Prefix `json:"prefix"`
	Via     string       `json:"via,omitempty"`   // the gateway
	Links   []string     `json:"links,omitempty"` // interfaces
	Because string       `json:"because"`
}

func (n Network) String() string {
	w := []string{n.Prefix.String()}
	if n.Via != "" {
		w = append(w, "via "+n.Via)
	}
	for _, l := range n.Links {
		w = append(w, "dev "+l)
	}
	return strings.Join(w, " ")
}

func (d *Doc) addLocal(cfg *gateway.Config) {
	l, err := policy.LocalNetworks(cfg)
	if err != nil {
		d.Problem(fmt.Errorf("read what is local: %w", err))
	}
	d.Local = Local{Networks: networks(l.Networks), Others: networks(l.Others), More: l.More, TooMany: l.TooMany}
	for _, p := range cfg.Exclude {
		d.Local.Networks = append(d.Local.Networks, Network{Prefix: p, Because: "in exclude"})
	}
}

func networks(list []policy.Network) []Network {
	out := []Network{}
	for _, n := range list {
		one := Network{Prefix: n.Prefix, Links: n.Links, Because: n.Because}
		if n.Via.IsValid() {
			one.Via = n.Via.String()
		}
		out = append(out, one)
	}
	return out
}

// maxNetworks is how many local networks the page shows. The JSON has all.
const maxNetworks = 24

// localText shows both parts. Link-local networks, which every interface has, are left out.
func localText(w io.Writer, l Local) {
	t := output.NewTable("BEFORE ALL ROUTES", "BECAUSE")
	shown, more := 0, 0
	for _, n := range l.Networks {
		switch {
		case n.Prefix.Addr().IsLinkLocalUnicast():
		case shown < maxNetworks:
			shown++
			t.Add(n.String(), n.Because)
		default:
			more++
		}
	}
	if more > 0 {
		t.Remark("local", fmt.Sprintf("%s more: see --json", output.Count(more, "network")))
	}
	if l.TooMany > 0 {
		t.Remark("local", fmt.Sprintf("%d networks behind gateways are too many: only connected ones are local", l.TooMany))
	}
	printSection(w, t)
	t = output.NewTable("IN MAIN, NOT LOCAL", "BECAUSE")
	for _, n := range l.Others {
		t.Add(n.String(), n.Because)
	}
	if l.More > 0 {
		t.Remark("not local", output.Count(l.More, "network")+" more")
	}
	printSection(w, t)
}
