// Package known is what the replies and silences of one resolver have shown of it.
package known

import (
	"time"

	"github.com/nameroute/nameroute/plugin/upstream/wire"
)

const (
	// Memory is how long it is remembered that a resolver lacks a feature. Then it is tried
	// again: unbound keeps what it knows of a server for as long (infra-host-ttl).
	Memory = 15 * time.Minute
	// doubts is how often in a row a feature must be missed that has worked before. One that
	// never worked is missed once.
	doubts = 3
)

// Capabilities are the features that a resolver has. They are a value: After returns the
// next one.
type Capabilities struct {
	Seen   wire.Features // worked
	doubt  wire.Features // missed since they worked last
	Lacks  wire.Features
	missed [wire.NumFeatures]uint8     // in a row, of those in doubt
	until  [wire.NumFeatures]time.Time // when those in Lacks are tried again
}

// Usable returns the features that a query may rely on.
func (c *Capabilities) Usable(now time.Time) wire.Features {
	u := wire.EveryFeature
	if c.Lacks == 0 {
		return u
	}
	for i := range wire.NumFeatures {
		if f := wire.Features(1 << i); c.Lacks&f != 0 && now.Before(c.until[i]) {
			u &^= f
		}
	}
	return u
}

// Tells reports whether After would change anything.
func (c *Capabilities) Tells(used, missed wire.Features) bool {
	return missed&^used != 0 || c.Seen&used != used || (c.Lacks|c.doubt)&used != 0
}

// After returns the capabilities once a reply came to a query that relied on the features in
// used, while no usable reply came to such as relied on those in missed.
func (c Capabilities) After(used, missed wire.Features, now time.Time) Capabilities {
	c.Seen |= used
	c.Lacks &^= used
	c.doubt &^= used
	for i := range wire.NumFeatures {
		f := wire.Features(1 << i)
		switch {
		case used&f != 0:
			c.missed[i] = 0
		case missed&f != 0:
			c.missed[i]++
			c.doubt |= f
			if c.Seen&f != 0 && c.missed[i] < doubts {
				continue
			}
			c.Seen &^= f
			c.doubt &^= f
			c.missed[i] = 0
			c.Lacks |= f
			c.until[i] = now.Add(Memory)
		}
	}
	return c
}
