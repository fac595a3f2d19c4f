package instance

import (
	"errors"
	"net"
	"slices"
	"time"

	"github.com/nameroute/nameroute/gateway/dataplane"
)

// Status is what a dataplane and the newest CoreDNS instance that uses it know at one
// moment.
type Status struct {
	dataplane.Status
	Upstreams []UpstreamStatus
	Blocks    []BlockStatus
	Aliases   int
}

// UpstreamStatus is one resolver that a block queries.
type UpstreamStatus struct {
	Route    string
	Address  string        // as written in the Corefile
	Healthy  bool          // it is queried like the others
	Fallback bool          // it is queried via the WAN, because the route is down
	Latency  time.Duration // of its last answers, smoothed; 0: none yet
	Asked    uint64        // queries sent, over every transport
	Answered uint64
	LastSeen time.Time // of its last answer; zero: none yet
}

// BlockStatus is one server block of the Corefile. It counts since the process started.
type BlockStatus struct {
	Zones    []string
	View     string // its lists, joined by +, or another view's name; "" without
	Routes   []string
	Servers  []string // its listeners, as CoreDNS labels them
	Class    string   // of clients that it is for; "": for all
	Lists    []string // whose names it answers; none: all names
	Counted  bool     // Queries is known: the block has listed or cache
	Queries  uint64
	Cached   bool   // it has a cache that was queried
	Hits     uint64 // of the cache
	Unplayed string // why none of its answers is given again from memory; "": they are, or it has none of our plugins

	requests uint64 // of the cache
}

// ReadStatus returns what is known of a gateway.yaml, "" is the default; ok is false where
// no dataplane runs for it. Where something cannot be read, the error says so and the rest
// is filled in.
func ReadStatus(file string) (s Status, ok bool, err error) {
	registry.Lock()
	b := registry.bindings[resolveLocked(file)]
	var i *instance
	if b != nil && len(b.living) > 0 {
		i = b.living[len(b.living)-1] // the newest, where a reload is under way
	}
	registry.Unlock()
	if b == nil {
		return s, false, nil
	}
	s = Status{Status: b.dataplane.Status(), Aliases: b.aliases.Len()}
	if i == nil {
		return s, true, s.Err
	}
	for _, block := range i.blocks {
		for _, f := range block.status {
			s.Upstreams = append(s.Upstreams, f()...)
		}
	}
	s.Blocks, err = i.blockStatus()
	return s, true, errors.Join(s.Err, err)
}

// blockStatus returns the blocks in the order of the Corefile.
func (i *instance) blockStatus() ([]BlockStatus, error) {
	var ids []uintptr
	var all []BlockStatus
	for _, z := range i.zones {
		n := slices.Index(ids, z.block)
		if n < 0 {
			n = len(ids)
			ids, all = append(ids, z.block), append(all, i.newBlockStatus(z))
		}
		all[n].Zones = append(all[n].Zones, z.name)
		for _, h := range z.hosts {
			if s := z.transport + "://" + net.JoinHostPort(h, z.port); !slices.Contains(all[n].Servers, s) {
				all[n].Servers = append(all[n].Servers, s)
			}
		}
	}
	err := addCacheCounters(all)
	for n := range all {
		// A cache's requests are the block's queries where listed counts none.
		if b := &all[n]; b.Cached && !b.Counted {
			b.Counted, b.Queries = true, b.requests
		}
	}
	return all, err
}

func (i *instance) newBlockStatus(z zone) BlockStatus {
	s := BlockStatus{View: z.view}
	n := slices.IndexFunc(i.blocks, func(b *Block) bool { return b.id == z.block })
	if n < 0 {
		return s // it has none of our plugins
	}
	b := i.blocks[n]
	s.Class, s.Lists = b.class, b.lists
	if r := b.replay.Load(); r != nil {
		s.Unplayed = r.Off
	}
	if b.listed {
		s.Counted, s.Queries = true, b.queries()
	}
	for _, u := range b.uses {
		if !slices.Contains(s.Routes, u.route) {
			s.Routes = append(s.Routes, u.route)
		}
	}
	return s
}
