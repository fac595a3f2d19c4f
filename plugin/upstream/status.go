package upstream

import "github.com/nameroute/nameroute/gateway/dataplane"

// Status is what a forwarder must know about its route. It is immutable: a change
// is a new value, so that two equal pointers mean that nothing happened.
type Status = dataplane.State
