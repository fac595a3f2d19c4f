// Package group decides which members of a group are in force: a route whose egress is
// other routes leaves by those. It takes what probes have found and says what follows
// from it, with the reason. It sends nothing and has no clock of its own.
package group

import (
	"time"

	"github.com/nameroute/nameroute/gateway"
)

// State is what probes say of a member.
type State string

// The states of a member. A member of a group without probes stays unknown: its link and
// its tunnel say whether it can be used.
const (
	Unknown State = "unknown" // no round of probes was good, nor enough of them bad
	Good    State = "good"
	Bad     State = "bad"
)

// Result is what one round of probes through a member found.
type Result struct {
	Member  string
	OK      bool
	Unknown bool          // it could not be found out whether the member works
	Time    time.Duration // the round trip; 0: none was measured
	Reason  string        // why the round is not OK, or unknown
}

// Active is a member that is in force.
type Active struct {
	Member string
	Weight int // its share of new flows; 1 where only one is in force
}

// Choice is what a group leaves by.
type Choice struct {
	Active  []Active // in the order of preference; none: the group is down
	Failing bool     // the probes of every member that could be used fail: those in force are kept
	Reason  string   // why the group is down or failing
	Events  []Event  // since the last choice
}

// Event is a change: of what is known of a member, or of the members in force.
type Event struct {
	Member   string // whose state has changed; "": other members are in force
	From, To string // states of the member, or names of members; "": none
	Reason   string
}

// MemberStatus is what is known of a member.
type MemberStatus struct {
	Name    string        `json:"name"`
	Weight  int           `json:"weight,omitempty"`
	State   State         `json:"state"`
	InForce bool          `json:"in_force"`
	Reason  string        `json:"why,omitempty"`     // why it is bad, or cannot be used
	Since   time.Time     `json:"since"`             // when it came into this state
	Probed  time.Time     `json:"probed,omitzero"`   // when the last round ended; zero: none has
	Time    time.Duration `json:"time_ns,omitempty"` // of the round trip, smoothed; 0: none was measured
}

// Machine is the state of one group. It is not safe for concurrent use.
type Machine struct {
	group   gateway.Group
	members []*member // in the order of preference
	inForce []string
	events  []Event
}
