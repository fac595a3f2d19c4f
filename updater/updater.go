package updater

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http/httpproxy"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/provider"
	"github.com/nameroute/nameroute/lists"
)

// DefaultShipped holds the lists that come with the package, by name.
const DefaultShipped = "/usr/share/nameroute/lists"

// Options of an Updater.
type Options struct {
	Config  *gateway.Config
	State   string       // the state directory; the lists lie below it
	Shipped string       // lists that came with the package; "": DefaultShipped
	Log     *slog.Logger // nil discards
	Timers  Timers       // the zero value is right outside of tests
}

// Updater keeps the lists of one gateway.yaml fresh. Its methods may be called from
// any goroutine; one list is updated at a time, in all processes together.
type Updater struct {
	options Options
	store   store
	roots   *x509.CertPool // nil: the system's
	ways    func(*gateway.Config, gateway.Source) (way, error)
	kick    chan struct{}
	given   atomic.Pointer[gateway.Config] // not taken up yet; nil for none

	mu      sync.Mutex // one pass at a time; guards what follows
	config  *gateway.Config
	after   map[string]time.Time // no scheduled fetch before: also where the disk cannot hold it
	instead map[string]time.Time // of what a clock that was wrong has planned: see due
	said    map[string]string    // what was last logged of a list's trouble
}

// New makes an updater and puts the copies that came with the package in place of
// lists that have no content yet. It fetches nothing and never fails over a list.
func New(o Options) *Updater {
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	o.Shipped = cmp.Or(o.Shipped, DefaultShipped)
	o.Timers = o.Timers.withDefaults()
	providers := provider.NewStore(o.State)
	u := &Updater{
		options: o, store: newStore(o.State), kick: make(chan struct{}, 1),
		after: map[string]time.Time{}, instead: map[string]time.Time{}, said: map[string]string{},
	}
	u.ways = func(cfg *gateway.Config, s gateway.Source) (way, error) { return wayBy(providers, cfg, s) }
	u.SetConfig(o.Config)
	return u
}

// SetConfig makes these the lists that are kept fresh, and has what is due looked at
// soon. It does not wait for an update that is under way.
func (u *Updater) SetConfig(cfg *gateway.Config) {
	u.given.Store(cfg.WithState(u.options.State))
	if u.mu.TryLock() {
		u.takeUp()
		u.mu.Unlock()
	}
	select {
	case u.kick <- struct{}{}:
	default:
	}
}

// takeUp begins to use the configuration that was given last. u.mu is held.
func (u *Updater) takeUp() {
	cfg := u.given.Swap(nil)
	if cfg == nil {
		return
	}
	u.config = cfg
	forget(cfg)
	if err := u.prepare(); err != nil {
		u.options.Log.Error("lists without content cannot be prepared", "error", err)
	}
}

// Flags of an update that somebody asked for.
type Flags struct {
	DryRun   bool                                     // fetch and check, and change nothing
	Force    bool                                     // fetch what is not due or not changed, and let it shrink
	Diff     bool                                     // find the names that came and went
	Progress func(list string, received, total int64) // total is -1 where the server does not say; may be nil
}

// Outcome is what became of one list.
type Outcome string

// The outcomes of an update.
const (
	Updated   Outcome = "updated"
	Unchanged Outcome = "unchanged"
	Refused   Outcome = "refused" // it came, and is not used
	Failed    Outcome = "failed"  // it did not come
)

// Result tells of one list after an update.
type Result struct {
	List    string
	Outcome Outcome
	URL     string       // where it was fetched; "" where nothing was
	Report  lists.Report // of what was fetched
	Before  int          // rules of the content that was in use
	Came    []string     // with Flags.Diff, sorted
	Went    []string
	Err     error // why it was refused or failed
	Unsaved error // why this will not be remembered; nil where it will
}

// Update fetches these lists now, or all where none is named, whether they are due or
// not. The error is about a name that is no fetched list; what becomes of each list
// is in its result.
func (u *Updater) Update(ctx context.Context, names []string, f Flags) ([]Result, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.takeUp()
	var sources []gateway.Source
	for _, s := range u.config.Sources {
		if len(names) == 0 || slices.Contains(names, s.List) {
			sources = append(sources, s)
		}
	}
	for _, n := range names {
		if _, ok := u.config.Source(n); !ok {
			return nil, fmt.Errorf("list %q: %s has no list of this name with url", n, u.config.File)
		}
	}
	var results []Result
	for _, s := range sources {
		results = append(results, u.update(ctx, s, f))
	}
	return results, nil
}

// update fetches one list and takes it up. u.mu is held.
func (u *Updater) update(ctx context.Context, s gateway.Source, f Flags) Result {
	unlock, err := u.store.lock(ctx)
	if err != nil {
		r := Result{List: s.List, Outcome: Failed, Err: fmt.Errorf("list %s: %w", s.List, err)}
		u.after[s.List] = u.options.Timers.now().Add(u.options.Timers.RetryFirst)
		u.say(s, r)
		return r
	}
	defer unlock()
	m, err := u.load(s)
	if err == nil && !f.DryRun {
		err = u.dropPart(s, &m)
	}
	r := Result{List: s.List, Outcome: Failed, Before: m.Rules}
	if err == nil {
		r, m = u.fetch(ctx, s, m, f)
		err = r.Err
	}
	if err != nil {
		r.Err = fmt.Errorf("list %s: %w", s.List, err)
	}
	if f.DryRun {
		return r
	}
	u.plan(s, &m, r)
	if r.Unsaved = u.save(s, m); r.Unsaved != nil {
		u.options.Log.Error("list state cannot be stored, it is fetched again after a restart", "error", r.Unsaved)
	}
	u.say(s, r)
	count(s.List, r.Outcome)
	return r
}

// dropPart removes what was begun to be downloaded from a URL that is no longer named.
func (u *Updater) dropPart(s gateway.Source, m *meta) error {
	if m.Part != nil && !slices.Contains(s.URLs, m.Part.URL) {
		m.Part = nil
		return removeIfThere(u.store.part(s.List))
	}
	return nil
}

// fetch asks the mirrors in turn until one has what can be used.
func (u *Updater) fetch(ctx context.Context, s gateway.Source, m meta, f Flags) (Result, meta) {
	r := Result{List: s.List, Outcome: Failed, Before: m.Rules}
	w, err := u.ways(u.config, s)
	if err != nil {
		r.Err = err
		return r, m
	}
	client := newClient(w, s, proxies(), u.roots)
	defer client.CloseIdleConnections()
	var errs []error
	remember := u.partKeeper(s, m)
	for _, at := range s.URLs {
		one := &fetch{client: client, source: s, url: at, store: u.store, known: m, whole: f.Force, remember: remember}
		if f.Progress != nil {
			one.progress = func(got, total int64) { f.Progress(s.List, got, total) }
		}
		done, changed, err := u.try(ctx, one, m, f)
		if err == nil {
			return done, changed
		}
		m.Part = one.cut
		r.Report = done.Report
		if refused(err) {
			r.Outcome = Refused
		}
		errs = append(errs, fmt.Errorf("%s: %w", shownText(at), err))
		if ctx.Err() != nil {
			break
		}
	}
	r.Err = errors.Join(errs...)
	return r, m
}

// proxies are those of the environment, read anew for each fetch.
func proxies() func(*http.Request) (*url.URL, error) {
	of := httpproxy.FromEnvironment().ProxyFunc()
	return func(r *http.Request) (*url.URL, error) { return of(r.URL) }
}

// say logs what became of a list; the same trouble only once.
func (u *Updater) say(s gateway.Source, r Result) {
	log := u.options.Log
	if r.Err != nil {
		if text := r.Err.Error(); u.said[s.List] != text {
			u.said[s.List] = text
			log.Error("list "+string(r.Outcome)+", keeping its current content", "error", strings.ReplaceAll(text, "\n", "; "),
				"next", u.after[s.List].Format(time.RFC3339))
		}
		return
	}
	if u.said[s.List] != "" {
		log.Info("list fetched again", "list", s.List)
	}
	delete(u.said, s.List)
	if r.Outcome == Updated {
		log.Info("list updated", "list", s.List, "rules", rules(r.Report), "before", r.Before, "from", shownText(r.URL))
	}
}
