package replay

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin/cache"
	"github.com/coredns/coredns/plugin/metrics"
	"github.com/miekg/dns"
)

// Block is what a server block's handlers make of replays.
type Block struct {
	Off string // why none of its answers are remembered; "" where they are

	// Decide reports whether a name is the block's for all clients, while nothing has changed
	// (package epoch), and returns on which condition; nil for none.
	Decide func(name string) (condition func() bool, ok bool)

	cache    *cache.Cache
	zones    string // of the cache, as it labels its counters
	stale    uint32 // TTL of stale answers; 0: none, or that of the answers themselves
	metrics  *metrics.Metrics
	answerer string // the handler after it, as CoreDNS labels answers
}

// inert are the handlers above the cache that do the same for every client and each time, or
// that say otherwise.
var inert = []string{"prometheus", "errors", "cancel", "listed", "route", "ddr"}

// NewBlock looks at the handlers of a server block, which has first handlers that are no
// directive's.
func NewBlock(cfg *dnsserver.Config, first int) (*Block, error) {
	b := &Block{}
	all := cfg.Handlers()
	for i, h := range all {
		switch {
		case h.Name() == "cache":
			c, ok := h.(*cache.Cache)
			if !ok {
				return nil, errLayout
			}
			return b, b.readCache(c, len(cfg.Plugin) == len(all)+first)
		case !slices.Contains(inert, h.Name()):
			b.Off = h.Name() + " sees every query"
			return b, nil
		case h.Name() == "prometheus":
			b.metrics, _ = h.(*metrics.Metrics)
			if i+1 < len(all) {
				b.answerer = all[i+1].Name()
			}
		}
	}
	b.Off = "no cache"
	return b, nil
}

var errLayout = fmt.Errorf("this version of CoreDNS keeps the settings of its cache elsewhere than v1.15")

// readCache reads the settings of the cache, for which it has no methods.
func (b *Block) readCache(c *cache.Cache, complete bool) error {
	v := reflect.ValueOf(c).Elem()
	prefetch, keep, stale := v.FieldByName("prefetch"), v.FieldByName("keepttl"), v.FieldByName("staleTTL")
	if !prefetch.IsValid() || prefetch.Kind() != reflect.Int || !keep.IsValid() || keep.Kind() != reflect.Bool ||
		!stale.IsValid() || stale.Type() != reflect.TypeFor[time.Duration]() {
		return errLayout
	}
	switch {
	case !complete:
		b.Off = "a plugin that is not known"
	case prefetch.Int() > 0:
		b.Off = "cache counts queries for prefetch"
	case keep.Bool():
		b.Off = "cache has keepttl"
	default:
		b.cache, b.zones = c, strings.Join(c.Zones, ",")
		b.stale = uint32(time.Duration(stale.Int()) / time.Second)
		if _, ok := c.Next.(*Below); !ok {
			c.Next = &Below{c.Next}
		}
	}
	return nil
}

// Record begins the recording of a query, where its answer may be remembered.
func (b *Block) Record(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) (context.Context, *Recording) {
	if b == nil || b.Off != "" || len(r.Question) != 1 {
		return ctx, nil
	}
	return Record(ctx, w.RemoteAddr())
}

// Commit remembers the answer m that was written.
func (b *Block) Commit(ctx context.Context, r *Recording, m *dns.Msg) {
	if b.stale > 0 && slices.ContainsFunc(slices.Concat(m.Answer, m.Ns), func(rr dns.RR) bool { return rr.Header().Ttl == b.stale }) {
		return // it may be stale, and is no longer when the resolvers are back
	}
	condition, ok := b.Decide(m.Question[0].Name)
	if !ok {
		return
	}
	if condition != nil {
		r.Check(func(uint32) bool { return condition() })
	}
	b.count(ctx, r, m)
	r.Commit()
}
