package lists

import (
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/pkg/epoch"
	"github.com/nameroute/nameroute/gateway/pkg/pace"
	"github.com/nameroute/nameroute/lists/format"
	"github.com/nameroute/nameroute/lists/index"
)

// Defaults of Options.
const (
	DefaultSettle = 250 * time.Millisecond
	DefaultPoll   = time.Minute
	DefaultRest   = 3 * time.Second
)

// Options of a Library; the zero value is usable.
type Options struct {
	LastGood string        // directory for the last good copy of each list; "": none are stored
	Cache    string        // directory for the compiled form, for a quick restart; "": it is not stored
	Log      *slog.Logger  // nil discards
	Settle   time.Duration // how long a changed file must stay as it is before Watch reads it; 0: DefaultSettle
	Poll     time.Duration // interval in which Watch checks all files without a notice; 0: DefaultPoll
	Rest     time.Duration // how long a list that became smaller must stay so before Watch uses it; 0: DefaultRest
	Budget   *Budget       // what the lists may cost; nil: DefaultBudget
}

// Library keeps lists compiled and up to date. All methods may be called concurrently;
// Index, Reports and Prefixes never block.
type Library struct {
	options   Options
	index     atomic.Pointer[index.Index]
	published atomic.Pointer[[]holding] // what Reports and Prefixes return; replaced, never changed
	recheck   chan struct{}             // makes Watch check the files

	mu       sync.Mutex // held by one reload at a time; guards what follows
	holdings []*holding
	loading  *loading
	pace     *pace.Pace      // nil until the lists are read for the first time
	refused  []error         // of lists that are too many
	reported map[string]bool // errors that were returned or logged when they came up
}

// Open reads all lists. It always returns a library. Each error is about one list, which
// then has its last good content, or none (DESIGN, guarantee 8).
func Open(cfg []gateway.List, o Options) (*Library, []error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.Log = o.Log.With("part", "lists")
	if o.Settle <= 0 {
		o.Settle = DefaultSettle
	}
	if o.Poll <= 0 {
		o.Poll = DefaultPoll
	}
	if o.Rest <= 0 {
		o.Rest = DefaultRest
	}
	l := &Library{options: o, recheck: make(chan struct{}, 1)}
	l.index.Store(index.NewBuilder(nil).Build())
	l.published.Store(&[]holding{})
	if o.Budget == nil {
		b := DefaultBudget()
		l.options.Budget = &b
	}
	l.loading = newLoading(o.Cache, o.Log)
	l.restore()
	_, errs := l.setLists(cfg, false)
	l.pace = &pace.Pace{}
	return l, errs
}

// Index returns the current index over all lists. A query should use one index from
// beginning to end; the next query may get another.
func (l *Library) Index() *index.Index { return l.index.Load() }

// Reports returns a report on each list, in the order of gateway.yaml.
func (l *Library) Reports() []Report {
	all := *l.published.Load()
	reports := make([]Report, len(all))
	for i, h := range all {
		reports[i] = h.report
		reports[i].Samples = slices.Clone(h.report.Samples)
	}
	return reports
}

// Prefixes returns the addresses and prefixes on a list in the order of its file, neither
// sorted nor merged. The caller must not change them.
func (l *Library) Prefixes(list string) []netip.Prefix {
	for _, h := range *l.published.Load() {
		if h.list.Name == list {
			return h.prefixes
		}
	}
	return nil
}

// Reload reads the files that changed and swaps the index if their content did. A list whose
// file is bad or missing keeps its last good content. The errors are all that is wrong now,
// whether it was reported before or not.
func (l *Library) Reload() (changed bool, errs []error) {
	changed, errs, _ = l.reload(0, true)
	return changed, errs
}

// reload is Reload that also returns which of the errors are new. A list that became smaller
// must have stayed so for rest.
func (l *Library) reload(rest time.Duration, requested bool) (changed bool, errs, fresh []error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	cfg := make([]gateway.List, len(l.holdings))
	for i, h := range l.holdings {
		cfg[i] = h.list
	}
	before := l.reported
	changed, errs = l.apply(cfg, rest, requested)
	for _, err := range errs {
		if !before[err.Error()] {
			fresh = append(fresh, err)
		}
	}
	return changed, errs, fresh
}

// SetLists makes the library hold these lists and no others, and reloads. Lists that it held
// before keep their content if their files are bad.
// A file that has shrunk is used: the user has asked for it.
func (l *Library) SetLists(cfg []gateway.List) (changed bool, errs []error) {
	return l.setLists(cfg, true)
}

func (l *Library) setLists(cfg []gateway.List, requested bool) (changed bool, errs []error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refused = nil
	if len(cfg) > index.MaxLists {
		for _, c := range cfg[index.MaxLists:] {
			l.refused = append(l.refused, fmt.Errorf("list %s: more than %d lists", c.Name, index.MaxLists))
		}
		cfg = cfg[:index.MaxLists]
	}
	changed, errs = l.apply(cfg, 0, requested)
	l.requestCheck()
	return changed, errs
}

// requestCheck makes Watch check the files.
func (l *Library) requestCheck() {
	select {
	case l.recheck <- struct{}{}:
	default: // one is requested already
	}
}

// apply makes the library hold these lists with the content of their files. l.mu is held.
func (l *Library) apply(cfg []gateway.List, rest time.Duration, requested bool) (changed bool, errs []error) {
	defer l.publish()
	defer l.loading.end()
	old := l.Index()
	names := make([]string, len(cfg))
	next := make([]*holding, len(cfg))
	parts := make([]*index.Part, len(cfg))
	settled := false // a signature can be relied on now, and the stored one cannot
	for i, c := range cfg {
		names[i], next[i] = c.Name, l.holding(c)
	}
	for i := range cfg {
		before, pending := next[i].sig, next[i].shrink
		parts[i] = next[i].refresh(refreshOptions{l.options.LastGood, old.NewPart, rest, l.pace, l.limit(next, next[i]), l.loading, requested})
		if s := next[i].shrink; s.pending() && s != pending {
			time.AfterFunc(rest, l.requestCheck)
		}
		changed = changed || parts[i] != nil
		settled = settled || before != next[i].sig && !next[i].sig.young && next[i].report.Err == nil
		if err := next[i].report.Err; err != nil {
			errs = append(errs, err)
		}
	}
	l.holdings = next
	errs = append(errs, l.refused...)
	l.reported = map[string]bool{}
	for _, err := range errs {
		l.reported[err.Error()] = true
	}
	if !changed && slices.Equal(names, old.Names()) {
		if settled {
			l.store()
		}
		return false, errs
	}
	l.beginBuild(next, parts)
	l.index.Store(old.Rebuild(names, parts, l.pace))
	epoch.Advance()
	l.store()
	return true, errs
}

// limit returns what a list may cost beside the others.
func (l *Library) limit(all []*holding, one *holding) index.Cost {
	var others index.Cost
	for _, h := range all {
		if h != one {
			others = others.Add(h.cost)
		}
	}
	return l.options.Budget.left(others)
}

// beginBuild notes that the index is built. Should the process die of it, the list that costs
// most is to blame.
func (l *Library) beginBuild(next []*holding, parts []*index.Part) {
	var most *holding
	for i, h := range next {
		if parts[i] != nil && (most == nil || h.cost.Memory > most.cost.Memory) {
			most = h
		}
	}
	if most == nil {
		return
	}
	file := format.ParseSource(most.list.File).Path
	if most.report.LastGood && l.options.LastGood != "" {
		file = copyFile(l.options.LastGood, most.list)
	}
	// It was loaded: it is not left alone.
	_ = l.loading.begin(file)
}

// publish makes Reports and Prefixes return what the library holds now.
func (l *Library) publish() {
	all := make([]holding, len(l.holdings))
	for i, h := range l.holdings {
		all[i] = *h
	}
	l.published.Store(&all)
}

// holding returns what the library holds of a list, or a new holding.
func (l *Library) holding(c gateway.List) *holding {
	for _, h := range l.holdings {
		if h.list.Name != c.Name {
			continue
		}
		if h.list != c {
			h.list, h.sig = c, signature{young: true} // it must be read
		}
		return h
	}
	return &holding{list: c, sig: signature{young: true}, report: Report{Name: c.Name, File: c.File}}
}
