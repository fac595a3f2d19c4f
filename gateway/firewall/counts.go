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

// Counts are what the rules of the table have counted since it was made. Without a
// table all are zero.
type Counts struct {
	Stopped    map[string]nft.Counter // by each route's closed door, by route name
	Redirected nft.Counter            // flows of questions of lan's clients to others, sent on to us
	Refused    nft.Counter            // packets of theirs in DNS over TLS or QUIC
}

// ReadCounts reads the counters. A packet is dropped or sent on by one of two twins, so
// what both counted is added.
func ReadCounts() (Counts, error) {
	out := Counts{Stopped: map[string]nft.Counter{}}
	rules, err := nft.ReadCounters(gateway.TableName)
	if err != nil {
		return out, err
	}
	for _, r := range rules {
		switch r.Chain {
		case chainDoor:
			if route, ok := strings.CutSuffix(r.Comment, doorSuffix); ok {
				out.Stopped[route] = out.Stopped[route].Add(r.Counter)
			}
		case chainToUs:
			out.Redirected = out.Redirected.Add(r.Counter)
		case chainRefuse:
			out.Refused = out.Refused.Add(r.Counter)
		}
	}
	return out, nil
}
