package instance

import (
	"slices"
	"strings"

	"github.com/coredns/coredns/core/dnsserver"
	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/plugin/pkg/replay"
)

// firstHandlers is how many handlers addFirst adds that are no directive's.
const firstHandlers = 1

// replayOf returns what of the block's answers may be given again from memory.
func (b *Block) replayOf(cfg *dnsserver.Config) (*replay.Block, error) {
	r, err := replay.NewBlock(cfg, firstHandlers)
	if err != nil {
		return nil, err
	}
	switch {
	case b.instance.noReplay:
		r.Off = "replay off"
	case slices.ContainsFunc(b.instance.zones, func(z zone) bool { return z.filtered && len(z.lists) == 0 }):
		r.Off = "a view chooses the block of each query"
	}
	r.Decide = b.decides
	return r, nil
}

// decides reports whether the queries for a name are always this block's, until the lists
// change. On which block is queried for a name that no list claims, the aliases
// and, of one in reverse, the elements have a say at each query: such a name is only
// remembered of a block for all names, on the condition that it is no alias.
func (b *Block) decides(name string) (condition func() bool, ok bool) {
	d, all := b.Dataplane(), b.Aliases()
	if d == nil || all == nil {
		return nil, false
	}
	name = strings.ToLower(name)
	switch {
	case d.Index().Match(name).Claimed():
		return nil, true
	case b.listed || dns.IsSubDomain("arpa.", name):
		return nil, false
	}
	return func() bool { return len(all.Lists(name)) == 0 }, true
}

// NoReplay has no answer be given from memory.
func (b *Block) NoReplay() { b.instance.noReplay = true }
