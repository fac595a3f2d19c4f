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
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http/httpproxy"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/pkg/logonce"
	"github.com/nameroute/nameroute/gateway/provider"
	"github.com/nameroute/nameroute/lists"
)

// DefaultShipped holds the lists that come with the package, by name.
const DefaultShipped = "/usr/share/nameroute/lists"

// Options of an Updater.
type Options struct {
	Config  *gateway.Config
	State   string       // the state directory; the lists are stored below it
	Shipped string       // lists that came with the package; "": DefaultShipped
	Log     *slog.Logger // nil discards
	Timers  Timers       // the zero value is right outside of tests
}

// Updater keeps the lists of one gateway.yaml fresh. Its methods may be called from
// any goroutine; one list is updated at a time, across all processes.
type Updater struct {
	options Options
	log     *slog.Logger
	store   store
	roots   *x509.CertPool // nil: the system's
	dialers func(*gateway.Config, gateway.Source) (dialer, error)
	kick    chan struct{} // capacity 1
	ready   chan struct{} // closed when every list has the content that is to be had at once
	wanted  atomic.Pointer[gateway.Config]
	logged  logonce.Edge // by list

	mu        sync.Mutex // held during a pass over the lists
	config    *gateway.Config
	notBefore map[string]time.Time // no scheduled fetch before: also where the disk cannot hold it
	clamped   map[string]time.Time // instead of a time that a wrong clock has planned: see dueLocked
}

// New returns an Updater. It reads and changes nothing yet.
func New(o Options) *Updater {
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	o.Shipped = cmp.Or(o.Shipped, DefaultShipped)
	o.Timers.fill()
	providers := provider.NewStore(o.State)
	u := &Updater{
		options: o, log: o.Log, store: newStore(o.State), kick: make(chan struct{}, 1), ready: make(chan struct{}),
		notBefore: map[string]time.Time{}, clamped: map[string]time.Time{},
	}
	u.dialers = func(cfg *gateway.Config, s gateway.Source) (dialer, error) { return newDialer(providers, cfg, s) }
	u.wanted.Store(o.Config.WithState(o.State))
	return u
}

// SetConfig makes another configuration the wanted one. It does not wait for an update
// in progress.
func (u *Updater) SetConfig(cfg *gateway.Config) {
	u.wanted.Store(cfg.WithState(u.options.State))
	select {
	case u.kick <- struct{}{}:
	default:
	}
}

// String returns the name of this part of the process.
func (u *Updater) String() string { return "updater" }

// Ready returns a channel that is closed when lists without content have the copies
// that came with the package.
func (u *Updater) Ready() <-chan struct{} { return u.ready }

// Run fetches what is due until ctx ends. It is called once. All state is on disk, so
// that a restart does not fetch again what is fresh.
func (u *Updater) Run(ctx context.Context) error {
	u.mu.Lock()
	u.useConfigLocked()
	u.mu.Unlock()
	close(u.ready)
	for ctx.Err() == nil {
		next := u.fetchDue(ctx)
		wait := min(u.options.Timers.Poll, max(0, next.Sub(u.options.Timers.now())))
		select {
		case <-ctx.Done():
		case <-u.kick:
		case <-time.After(wait):
		}
	}
	return nil
}

// useConfigLocked switches to the wanted configuration and gives lists without content
// the copies that came with the package.
func (u *Updater) useConfigLocked() {
	cfg := u.wanted.Load()
	if cfg == u.config {
		return
	}
	u.config = cfg
	dropMetrics(cfg)
	if err := u.installMissingLocked(); err != nil {
		u.log.Error("lists without content cannot be prepared", "error", err)
	}
}

// Flags change what Update does.
type Flags struct {
	DryRun   bool                                     // fetch and check, and change nothing
	Force    bool                                     // fetch what is not due or unchanged too, and let it shrink
	Diff     bool                                     // find the entries that were added and removed
	Progress func(list string, received, total int64) // total is -1 where the server does not tell; may be nil
}

// Outcome is what an update did to one list.
type Outcome string

// The outcomes of an update.
const (
	Updated   Outcome = "updated"
	Unchanged Outcome = "unchanged"
	Refused   Outcome = "refused" // the content was fetched and is not used
	Failed    Outcome = "failed"  // the content was not fetched
)

// Result describes the update of one list.
type Result struct {
	List    string
	Outcome Outcome
	URL     string       // where it was fetched; "" where nothing was
	Report  lists.Report // of what was fetched
	Before  int          // entries of the content that was in use
	Added   []string     // with Flags.Diff, sorted
	Removed []string
	Err     error // why it was refused or failed
	SaveErr error // why the result is forgotten at the next restart; nil where it is not
}

// Update fetches these lists now, or all where none is named, whether they are due or
// not. The error is about a name that is not a fetched list; errors of the lists are in
// their results.
func (u *Updater) Update(ctx context.Context, names []string, f Flags) ([]Result, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.useConfigLocked()
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
		results = append(results, u.updateLocked(ctx, s, f))
	}
	return results, nil
}

// updateLocked fetches one list and, unless it is a dry run, installs it.
func (u *Updater) updateLocked(ctx context.Context, s gateway.Source, f Flags) Result {
	unlock, err := u.store.lock(ctx)
	if err != nil {
		r := Result{List: s.List, Outcome: Failed, Err: fmt.Errorf("list %s: %w", s.List, err)}
		u.notBefore[s.List] = u.options.Timers.now().Add(u.options.Timers.RetryMin)
		u.logResultLocked(s, r)
		return r
	}
	defer unlock()
	m, err := u.loadMetaLocked(s)
	if err == nil && !f.DryRun {
		err = u.dropPart(s, &m)
	}
	r := Result{List: s.List, Outcome: Failed, Before: m.Rules}
	if err == nil {
		r, m = u.fetchLocked(ctx, s, m, f)
		err = r.Err
	}
	if err != nil {
		r.Err = fmt.Errorf("list %s: %w", s.List, err)
	}
	if f.DryRun {
		return r
	}
	u.scheduleLocked(s, &m, r)
	if r.SaveErr = u.saveMeta(s, m); r.SaveErr != nil {
		u.log.Error("list state cannot be stored, it is fetched again after a restart", "list", s.List, "error", r.SaveErr)
	}
	u.logResultLocked(s, r)
	countUpdate(s.List, r.Outcome)
	return r
}

// dropPart deletes a partial download from a URL that the list no longer has.
func (u *Updater) dropPart(s gateway.Source, m *meta) error {
	if m.Part != nil && !slices.Contains(s.URLs, m.Part.URL) {
		m.Part = nil
		return removeIfExists(u.store.part(s.List))
	}
	return nil
}

// fetchLocked tries the mirrors in turn until one has usable content.
func (u *Updater) fetchLocked(ctx context.Context, s gateway.Source, m meta, f Flags) (Result, meta) {
	r := Result{List: s.List, Outcome: Failed, Before: m.Rules}
	d, err := u.dialers(u.config, s)
	if err != nil {
		r.Err = err
		return r, m
	}
	client := newClient(d, s, proxyFromEnvironment(), u.roots)
	defer client.CloseIdleConnections()
	var errs []error
	savePart := u.partSaver(s, m)
	for _, mirror := range s.URLs {
		one := &fetch{client: client, source: s, url: mirror, store: u.store, known: m, force: f.Force, savePart: savePart}
		if f.Progress != nil {
			one.progress = func(received, total int64) { f.Progress(s.List, received, total) }
		}
		done, changed, err := u.tryMirrorLocked(ctx, one, m, f)
		if err == nil {
			return done, changed
		}
		m.Part = one.part
		r.Report = done.Report
		if isRefusal(err) {
			r.Outcome = Refused
		}
		errs = append(errs, fmt.Errorf("%s: %w", redact(mirror), err))
		if ctx.Err() != nil {
			break
		}
	}
	r.Err = errors.Join(errs...)
	return r, m
}

// proxyFromEnvironment reads the environment again at each call, unlike
// http.ProxyFromEnvironment.
func proxyFromEnvironment() func(*http.Request) (*url.URL, error) {
	proxy := httpproxy.FromEnvironment().ProxyFunc()
	return func(r *http.Request) (*url.URL, error) { return proxy(r.URL) }
}

// logResultLocked logs the result of an update; a failure that lasts only once.
func (u *Updater) logResultLocked(s gateway.Source, r Result) {
	changed, ended := u.logged.Error(s.List, r.Err)
	switch {
	case changed:
		rest := ", keeping its current content"
		if _, err := os.Stat(u.store.content(s.List)); err != nil {
			rest = ", it stays without content"
		}
		u.log.Error("list "+string(r.Outcome)+rest, "error", strings.ReplaceAll(r.Err.Error(), "\n", "; "),
			"next", u.notBefore[s.List].Format(time.RFC3339))
	case ended:
		u.log.Info("list fetched again", "list", s.List)
	}
	if r.Err == nil && r.Outcome == Updated {
		u.log.Info("list updated", "list", s.List, "entries", countEntries(r.Report), "before", r.Before, "from", redact(r.URL))
	}
}
