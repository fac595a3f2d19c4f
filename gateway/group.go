package gateway

import (
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Group makes a route of other routes, its members: its packets leave by those of them
// that are in force, which probes and the order of preference decide. The mark of a flow
// names the member that it left by, so a flow keeps its way, its source address and its
// replies whatever the group does later. The mark of a socket names the route that it
// asked for, which may be the group: its packets follow the group's routing table.
type Group struct {
	Members []Member // in the order of preference; no groups, none twice
	Policy  GroupPolicy
	Probing               // through each member
	Hold    time.Duration // a member must have been good for this long before it replaces a good one
	Move    GroupMove
}

// Probing is how it is found out whether a route works. Without probes only its link and
// its tunnel tell.
type Probing struct {
	Probes []Probe       // all must succeed for a round to be good
	Every  time.Duration // between two rounds of probes
	Fails  int           // so many failed rounds in a row end a route
	Good   int           // so many good rounds in a row bring it back
}

// Member is a route in a group.
type Member struct {
	Route  string
	Weight int // its share of new flows with Balance, 1 to MaxWeight
}

// String returns the member's name.
func (m Member) String() string { return m.Route }

// GroupPolicy says which of the members that work are in force.
type GroupPolicy string

// Failover takes the first that works, Balance all that work, by their weights, and
// Fastest the one with the lowest probe time.
const (
	Failover GroupPolicy = "failover"
	Balance  GroupPolicy = "balance"
	Fastest  GroupPolicy = "fastest"
)

// GroupMove says what becomes of the flows of a member that is no longer in force because
// it has failed.
type GroupMove string

// MoveCut ends them, so that the clients connect again by another member. MoveKeep leaves
// them waiting, blocked, until the member works again.
const (
	MoveCut  GroupMove = "cut"
	MoveKeep GroupMove = "keep"
)

// ProbeKind is a kind of probe.
type ProbeKind string

// The kinds of probes. A handshake is the age of a WireGuard tunnel's last one, and sends
// nothing by itself.
const (
	ProbeHandshake ProbeKind = "handshake"
	ProbePing      ProbeKind = "ping"
	ProbeTCP       ProbeKind = "tcp"
	ProbeHTTP      ProbeKind = "http"
	ProbeDNS       ProbeKind = "dns"
)

// Probe tells whether a route works. It is sent through the route.
type Probe struct {
	Kind ProbeKind
	Addr netip.Addr // Ping, TCP: what is asked; DNS: the resolver, invalid: those of the member
	Port uint16     // TCP, DNS
	URL  string     // HTTP: any answer with a status below 400 is good, but a redirect to another host
	Code int        // HTTP: the status that alone is good; 0: see URL
	Name string     // DNS: the name that is asked for; any answer but SERVFAIL and REFUSED is good
}

// String returns the probe as gateway.yaml has it.
func (p Probe) String() string {
	words := []string{string(p.Kind)}
	switch p.Kind {
	case ProbePing:
		words = append(words, p.Addr.String())
	case ProbeTCP:
		words = append(words, netip.AddrPortFrom(p.Addr, p.Port).String())
	case ProbeHTTP:
		words = append(words, p.URL)
		if p.Code != 0 {
			words = append(words, strconv.Itoa(p.Code))
		}
	case ProbeDNS:
		words = append(words, p.Name)
		if p.Addr.IsValid() && p.Port == 53 {
			words = append(words, p.Addr.String())
		} else if p.Addr.IsValid() {
			words = append(words, netip.AddrPortFrom(p.Addr, p.Port).String())
		}
	}
	return strings.Join(words, " ")
}

// Defaults and bounds of Group. With the defaults a silent member is noticed within 3 s.
const (
	DefaultProbeEvery = time.Second
	MinProbeEvery     = 200 * time.Millisecond
	MaxProbeEvery     = time.Hour
	DefaultProbeFails = 3
	DefaultProbeGood  = 5
	MaxProbeCount     = 1000
	DefaultHold       = time.Minute
	MaxHold           = 24 * time.Hour
	MaxWeight         = 100
	MaxMembers        = 16
	MaxProbes         = 8
)
