package lists

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nameroute/nameroute/gateway"
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
	LastGood string        // folder for the last good copy of each list; "" keeps none
	Cache    string        // folder for the compiled form, for a quick restart; "" keeps none
	Log      *slog.Logger  // for what Watch meets; nil discards
	Settle   time.Duration // quiet time after a change before it is read; 0: DefaultSettle
	Poll     time.Duration // between looks at all files, should a notice be missed; 0: DefaultPoll
	Rest     time.Duration // Watch takes up what makes a list smaller when it has stayed so for this long; 0: DefaultRest
}

// Library keeps lists compiled and up to date. All methods may be called
// concurrently; Index, Reports and Prefixes never wait.
type Library struct {
	options Options
	index   atomic.Pointer[index.Index]
	shown   atomic.Pointer[[]holding] // what Reports and Prefixes tell; replaced, never changed
	lists   chan struct{}             // tells Watch that the lists are others

	mu      sync.Mutex // one reload at a time; guards what follows
	holding []*holding
	pace    *pace.Pace      // nil until the lists of the start are there
	refused []error         // lists that are too many
	told    map[string]bool // the errors that were returned or logged when they came up
}

// holding is a list of the library.
type holding struct {
	list     gateway.List
	sig      signature    // of the file when it was last looked into
	good     bool         // the index holds content of it
	read     gateway.List // what that content was read as
	sum      digest       // of that content
	uncopied bool         // storing its last good copy went wrong
	smaller  smaller      // content that Watch does not trust yet
	prefixes []netip.Prefix
	report   Report // its Err is what is wrong with the file now
}

// Open loads all lists. It always returns a library; each error is about one list,
// which then has its last good content, or none (DESIGN, guarantee 8).
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
	l := &Library{options: o, lists: make(chan struct{}, 1)}
	l.index.Store(index.NewBuilder(nil).Build())
	l.shown.Store(&[]holding{})
	l.restore()
	_, errs := l.SetLists(cfg)
	l.pace = &pace.Pace{}
	return l, errs
}

// Index is the index over all lists as they are now. A query uses one index from
// beginning to end; the next one may have another.
func (l *Library) Index() *index.Index { return l.index.Load() }

// Reports tells of each list, in the order of gateway.yaml.
func (l *Library) Reports() []Report {
	shown := *l.shown.Load()
	reports := make([]Report, len(shown))
	for i, h := range shown {
		reports[i] = h.report
		reports[i].Samples = slices.Clone(h.report.Samples)
	}
	return reports
}

// Prefixes are the addresses and prefixes on a list, as they are written there,
// neither sorted nor merged. The caller must not change them.
func (l *Library) Prefixes(list string) []netip.Prefix {
	for _, h := range *l.shown.Load() {
		if h.list.Name == list {
			return h.prefixes
		}
	}
	return nil
}

// Reload reads the files that changed and swaps the index if their content did. A
// bad or missing file keeps its list's last good content. The errors are all that
// is wrong now, also what was before.
func (l *Library) Reload() (changed bool, errs []error) {
	changed, errs, _ = l.reload(0)
	return changed, errs
}

// reload is Reload that also tells which of the errors nobody has been told of yet.
// What makes a list smaller must have stayed as it is for rest.
func (l *Library) reload(rest time.Duration) (changed bool, errs, fresh []error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	cfg := make([]gateway.List, len(l.holding))
	for i, h := range l.holding {
		cfg[i] = h.list
	}
	before := l.told
	changed, errs = l.apply(cfg, rest)
	for _, err := range errs {
		if !before[err.Error()] {
			fresh = append(fresh, err)
		}
	}
	return changed, errs, fresh
}

// SetLists makes the library hold these lists and no others, and reloads. Lists
// that stay keep their content where their files are bad.
func (l *Library) SetLists(cfg []gateway.List) (changed bool, errs []error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refused = nil
	if len(cfg) > index.MaxLists {
		for _, c := range cfg[index.MaxLists:] {
			l.refused = append(l.refused, fmt.Errorf("list %s: more than %d lists", c.Name, index.MaxLists))
		}
		cfg = cfg[:index.MaxLists]
	}
	changed, errs = l.apply(cfg, 0)
	l.lookAgain()
	return changed, errs
}

// lookAgain has Watch look at the files once more.
func (l *Library) lookAgain() {
	select {
	case l.lists <- struct{}{}:
	default: // it is about to
	}
}

// apply brings the library to these lists and their files' content. l.mu is held.
func (l *Library) apply(cfg []gateway.List, rest time.Duration) (changed bool, errs []error) {
	defer l.show()
	old := l.Index()
	names := make([]string, len(cfg))
	next := make([]*holding, len(cfg))
	parts := make([]*index.Part, len(cfg))
	settled := false // a file is known better than what is stored tells
	for i, c := range cfg {
		names[i] = c.Name
		next[i] = l.held(c)
		before, waited := next[i].sig, next[i].smaller
		parts[i] = next[i].refresh(look{l.options.LastGood, old.NewPart, rest, l.pace})
		if s := next[i].smaller; s.waits() && s != waited {
			time.AfterFunc(rest, l.lookAgain)
		}
		changed = changed || parts[i] != nil
		settled = settled || before != next[i].sig && !next[i].sig.young && next[i].report.Err == nil
		if err := next[i].report.Err; err != nil {
			errs = append(errs, err)
		}
	}
	l.holding = next
	errs = append(errs, l.refused...)
	l.told = map[string]bool{}
	for _, err := range errs {
		l.told[err.Error()] = true
	}
	if !changed && slices.Equal(names, old.Names()) {
		if settled {
			l.store()
		}
		return false, errs
	}
	l.index.Store(old.Rebuild(names, parts, l.pace))
	l.store()
	return true, errs
}

// show publishes what Reports and Prefixes tell.
func (l *Library) show() {
	shown := make([]holding, len(l.holding))
	for i, h := range l.holding {
		shown[i] = *h
	}
	l.shown.Store(&shown)
}

// held is what the library has of a list, or a new holding.
func (l *Library) held(c gateway.List) *holding {
	for _, h := range l.holding {
		if h.list.Name != c.Name {
			continue
		}
		if h.list != c {
			h.list, h.sig = c, signature{young: true} // to be read anew
		}
		return h
	}
	return &holding{list: c, sig: signature{young: true}, report: Report{Name: c.Name, File: c.File}}
}

// look is how files are looked at.
type look struct {
	lastGood string // folder of the last good copies; "": there are none
	newPart  func() *index.Part
	rest     time.Duration // that makes what is smaller believed
	pace     *pace.Pace
}

// refresh looks at a list's file and returns its entries if they are others than
// those that the index has, else nil.
func (h *holding) refresh(o look) *index.Part {
	src := format.ParseSource(h.list.File)
	sig := sign(src.Path, time.Now())
	sig.young = sig.young || src.Dir != "" // what it includes is not looked at
	if h.sig.same(sig) && !h.uncopied {
		return nil
	}
	h.sig = sig
	if h.good && h.list == h.read && src.Selector == "" {
		if sum, err := sumFile(src.Path, o.pace); err == nil && sum == h.sum {
			h.report.LastGood, h.smaller = false, smaller{}
			h.keep(o)
			return nil
		}
	}
	c, err := readList(h.list, h.list.File, o.newPart(), o.pace)
	if err == nil && h.mayBeHalf(c, o.rest) {
		h.sig.young = true // to be read again
		return nil
	}
	if err == nil {
		same := h.good && h.list == h.read && c.sum == h.sum
		h.take(c)
		h.keep(o)
		if same { // of a selection: the rest of the file has changed
			return nil
		}
		return c.part
	}
	h.smaller = smaller{}
	if h.good { // the index has it
		h.report.Err, h.report.LastGood = fmt.Errorf("%w; its last good content stays in use", err), true
		return nil
	}
	if o.lastGood != "" {
		kept, copyErr := readCopy(o.lastGood, h.list, o.newPart(), o.pace)
		if copyErr == nil {
			h.take(kept)
			h.report.Err = fmt.Errorf("%w; its last good copy is used", err)
			return kept.part
		}
		if !errors.Is(copyErr, fs.ErrNotExist) {
			err = fmt.Errorf("%w; its last good copy is bad too: %w", err, copyErr)
		}
	}
	h.report = c.report
	h.report.Err = fmt.Errorf("%w; it is empty until its file is good", err)
	return nil
}

// take makes content the list's own.
func (h *holding) take(c content) {
	h.good, h.read, h.sum = true, h.list, c.sum
	h.prefixes, h.report = c.prefixes, c.report
	h.smaller = smaller{}
}

// keep stores the last good copy of the file that was read. Where that fails, the
// list is fine, and the next reload tries again.
func (h *holding) keep(o look) {
	h.report.Err = nil
	if o.lastGood != "" {
		h.report.Err = keepCopy(o.lastGood, h.list, h.sum, o.pace)
	}
	h.uncopied = h.report.Err != nil
}
