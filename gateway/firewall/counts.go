package firewall

import (
	"strings"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/nft"
)

// Pair names the sets of a route in our own table.
func Pair(r gateway.Route) nft.SetPair {
	ref := func(f gateway.Family) nft.SetRef {
		return nft.SetRef{Family: "inet", Table: gateway.TableName, Name: r.Set(f)}
	}
	return nft.SetPair{Set4: ref(gateway.V4), Set6: ref(gateway.V6)}
}

// Counts holds the counters of the table since it was made, all zero without a table.
type Counts struct {
	Dropped     map[string]nft.Counter // by each route's kill switch, by route name
	Overwritten map[string]nft.Counter // of Dropped: packets whose mark another program had overwritten
	Inbound     map[string]nft.Counter // packets of connections from each route's tunnel, refused, by route name
	Redirected  nft.Counter            // flows of queries of lan to other resolvers, redirected to us
	Refused     nft.Counter            // packets of DNS over TLS or QUIC from lan, rejected
}

// ReadCounts reads the counters. Where the table has a replica, a packet is counted by one
// of the two, and their counters are added.
func ReadCounts() (Counts, error) {
	out := Counts{Dropped: map[string]nft.Counter{}, Overwritten: map[string]nft.Counter{}, Inbound: map[string]nft.Counter{}}
	rules, err := nft.ReadCounters(gateway.TableName)
	if err != nil {
		return out, err
	}
	for _, r := range rules {
		if route, ok := strings.CutSuffix(r.Comment, overwrittenSuffix); ok {
			out.Overwritten[route] = out.Overwritten[route].Add(r.Counter)
			out.Dropped[route] = out.Dropped[route].Add(r.Counter)
		}
		switch r.Chain {
		case chainMarked:
			if route, ok := strings.CutSuffix(r.Comment, killSwitchSuffix); ok {
				out.Dropped[route] = out.Dropped[route].Add(r.Counter)
			}
		case chainInbound:
			if route, ok := strings.CutSuffix(r.Comment, inboundSuffix); ok {
				out.Inbound[route] = out.Inbound[route].Add(r.Counter)
			}
		case chainDNSRedirect:
			out.Redirected = out.Redirected.Add(r.Counter)
		case chainDoTReject:
			out.Refused = out.Refused.Add(r.Counter)
		}
	}
	return out, nil
}
