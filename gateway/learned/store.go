package learned

import (
	"context"
	"fmt"
	"hash/maphash"
	"iter"
	"maps"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/nft"
)

// Options configure a Store. Only Table must be set.
type Options struct {
	Table string        // the name of our nft table
	Owner gateway.Owner // see nft.Options
	Force nft.Mode      // for tests; see nft.Options
	// NoUpdate, for tests: see nft.Options.
	NoUpdate bool
	Holder   nft.Holder // see nft.Options
	// OnLoss is told what other programs took away, after it was put back. It is called by
	// the goroutine that makes all transactions: it must be quick, and must not call the
	// Store.
	OnLoss func(Loss)
	// OnGap is told each time that our table was not in force, at a start or because another
	// program removed it, and is now: flows may have begun without it. As OnLoss, it must be
	// quick.
	OnGap func()
	// OnFull is told each time that a set is found full, at most every 250 ms for each. As
	// OnLoss, it must be quick.
	OnFull func(Full)
	// Grace is by how much an element outlives every answer that holds its address, at
	// least: an element that expires sooner is in no valid answer, and is reclaimed when
	// its set is full. nil reclaims none.
	Grace func() time.Duration
	// Timeout bounds how long Ensure waits; 0 is 2 s. The kernel acknowledges within
	// microseconds, and a client gives a resolver 5 s.
	Timeout time.Duration
	// SweepInterval is how often records are dropped that expired twice as long ago; 0 is a
	// minute.
	SweepInterval time.Duration
}

// Loss is something that another program did to what is ours.
type Loss struct {
	What    []string // what was seen: "table inet nameroute deleted"
	Changes int      // objects and elements that had to be put back
	Took    time.Duration
	Err     error // why it could not be put back; it is tried again
}

// writer is what learning needs of the kernel; *nft.Conn is one.
type writer interface {
	// Commit makes changes of sets in one transaction.
	Commit(changes []nft.Change) error
	// Reopen replaces a broken connection.
	Reopen() error
}

// Store holds the learned addresses and owns the connection that writes the nft table. Its
// methods may be called from any goroutine.
type Store struct {
	options Options
	clock   clock
	seed    maphash.Seed

	sets     atomic.Pointer[map[nft.SetRef]*set] // replaced, never changed; written by the owner only
	commits  atomic.Uint64                       // that changed learned elements
	pool     sync.Pool                           // of *request
	requests chan *request
	calls    chan func()
	notices  chan nft.Notice                                                                  // from the watch
	readings chan func()                                                                      // finish those of sets of other tables
	readUpTo func(set nft.SetRef, most int, known func() []netip.Addr) ([]nft.Element, error) // nft.ReadUpTo, but for tests
	closing  chan struct{}
	stopped  chan struct{}
	close    sync.Once

	// What follows belongs to the owner goroutine.
	conn       writer
	nft        *nft.Conn // conn, where it is a real one
	gather     gathering
	deferred   []*request // wait until the table is applied
	broken     bool       // the connection must be reopened
	table      *nft.Table // what the kernel is to have; nil before the first Apply and after Remove
	applying   bool       // the table is being applied: requests may be served between its steps
	drift      []string   // what other programs changed, and was not undone yet
	watch      *nft.Watch
	retry      *time.Timer // a restoration that failed is tried again
	backoff    time.Duration
	restoreErr error // why the last restoration failed, for the requests that waited for it
}

// Open opens the connection to the kernel and starts the goroutine that makes all
// transactions. It changes nothing of ours: Apply does.
func Open(o Options) (*Store, error) {
	conn, err := nft.Open(nft.Options{Table: o.Table, Owner: o.Owner, Force: o.Force, NoUpdate: o.NoUpdate, Holder: o.Holder})
	if err != nil {
		return nil, err
	}
	s := newStore(o, conn)
	s.nft = conn
	go s.run()
	return s, nil
}

func newStore(o Options, conn writer) *Store {
	if o.SweepInterval <= 0 {
		o.SweepInterval = time.Minute
	}
	if o.Timeout <= 0 {
		o.Timeout = 2 * time.Second
	}
	s := &Store{
		options: o, clock: clock{time.Now()}, seed: maphash.MakeSeed(), conn: conn,
		requests: make(chan *request, 4096), calls: make(chan func()), notices: make(chan nft.Notice, 4096),
		readings: make(chan func()), readUpTo: nft.ReadUpTo,
		closing: make(chan struct{}), stopped: make(chan struct{}),
		gather: gathering{wanted: map[*set]map[netip.Addr]int64{}},
		retry:  time.NewTimer(time.Hour),
	}
	s.retry.Stop()
	s.pool.New = func() any {
		r := &request{done: make(chan error, 1), timeout: time.NewTimer(time.Hour)}
		r.timeout.Stop()
		return r
	}
	s.sets.Store(&map[nft.SetRef]*set{})
	return s
}

// Features returns what the running kernel can do and how our table is made.
func (s *Store) Features() nft.Features { return s.nft.Features() }

// Close ends the goroutine and leaves everything in the kernel in place.
func (s *Store) Close() error {
	s.close.Do(func() { close(s.closing) })
	<-s.stopped
	return nil
}

// do runs a function on the owner goroutine and waits for it, or for ctx.
func (s *Store) do(ctx context.Context, f func() error) error {
	done := make(chan error, 1)
	select {
	case s.calls <- func() { done <- f() }:
	case <-ctx.Done():
		return ctx.Err()
	case <-s.stopped:
		return ErrClosed
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// track begins to follow a set.
func (s *Store) track(ref nft.SetRef) *set {
	old := *s.sets.Load()
	if set, ok := old[ref]; ok {
		return set
	}
	added := newSet(ref)
	sets := maps.Clone(old)
	sets[ref] = added
	s.sets.Store(&sets)
	return added
}

// untrack forgets the sets of our table that are not wanted any more.
func (s *Store) untrack(wanted func(ref nft.SetRef) bool) {
	sets := maps.Clone(*s.sets.Load())
	maps.DeleteFunc(sets, func(r nft.SetRef, set *set) bool {
		removed := r.Family == "inet" && r.Table == s.options.Table && !wanted(r)
		if removed {
			set.distrust()
		}
		return removed
	})
	s.sets.Store(&sets)
}

// followed yields the sets that are followed.
func (s *Store) followed() iter.Seq[nft.SetRef] {
	return func(yield func(nft.SetRef) bool) {
		for ref := range *s.sets.Load() {
			if !yield(ref) {
				return
			}
		}
	}
}

// isOurs reports whether a set belongs to the table that we make.
func (s *Store) isOurs(ref nft.SetRef) bool {
	return s.table != nil && ref.Family == "inet" && ref.Table == s.table.Name
}

// CheckSets tells whether addresses can be learned into a pair of sets of other tables,
// as nft.CheckSets does, and from now on follows them: when they are emptied or
// replaced, what was learned is put back.
func (s *Store) CheckSets(ctx context.Context, pair nft.SetPair) error {
	if err := s.nft.CheckSets(pair); err != nil {
		return err
	}
	for _, ref := range []nft.SetRef{pair.Set4, pair.Set6} {
		var r *reading
		err := s.do(ctx, func() error {
			if s.isOurs(ref) {
				return nil
			}
			set, err := s.follow(ref)
			if err == nil {
				r = set.reading
			}
			return err
		})
		if err == nil && r != nil {
			err = s.await(ctx, r)
		}
		if err != nil {
			return fmt.Errorf("set %s: %w", ref, err)
		}
	}
	return nil
}
