package nft

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nameroute/nameroute/gateway"
)

// Mode says what keeps others from the table.
type Mode string

// ModeOwned is a table with the flags owner and persist: nobody else can change it
// while we live, and it outlives us. ModeTwins is an ordinary table and one with the
// flag owner, inet nameroute_replica, of the same content: others' flushes take only the
// one, our death only the other. ModePlain is an ordinary table, whose loss the watch
// notices.
const (
	ModeOwned   Mode = "owned"
	ModeReplica Mode = "replica"
	ModePlain   Mode = "plain"
)

// Options are how a Kernel works. Nothing but Table has to be set.
type Options struct {
	Table string        // the name of our table, of family inet
	Owner gateway.Owner // OwnerOff makes an ordinary table; "" is OwnerAuto
	Force Mode          // for tests: a mode regardless of Owner and of what was probed; "" does not force
	// NoUpdate, for tests: prolong elements as on kernels before 6.12, which cannot
	// change one in place.
	NoUpdate bool
	// OnLoss hears of what others took away, after it was put back. It is called by
	// the goroutine that writes the table: it must be quick, and must not call the Kernel.
	OnLoss func(Loss)
	// OnFull hears each time that a set is found full, at most every 250 ms for each.
	// As OnLoss, it must be quick.
	OnFull func(Full)
	// Spare is by how much an element outlives every answer that holds its address, at
	// least: an element that is this close to its end is in no valid answer, and makes
	// room in a full set. nil makes none.
	Spare func() time.Duration
	// GCInterval is how often expired entries leave the expiry table; 0 is a minute.
	GCInterval time.Duration
}

// Loss is something that another program did to what is ours.
type Loss struct {
	What    []string // what was seen: "table inet nameroute deleted"
	Changes int      // objects and elements that had to be put back
	Took    time.Duration
	Err     error // why it could not be put back; it is tried again
}

// Features says what the running kernel can do, as found by trying.
type Features struct {
	Owner   bool // tables that one socket owns (Linux 5.12)
	Persist bool // owned tables that outlive their owner (6.9)
	Update  bool // an element's timeout can be changed in place (6.12)
	Mode    Mode // how our table is made
}

// Errors that callers tell apart.
var (
	ErrClosed  = errors.New("nft: closed")
	ErrSetFull = errors.New("set is full")
	ErrOwned   = errors.New("table is owned by another process")
)

// fullPause is how long a full set gets no new elements: the kernel's garbage
// collection gives up when transactions keep coming, and a retry loop would keep
// the set full for ever.
const fullPause = 250 * time.Millisecond

// Kernel writes the nft table and learns addresses into sets. One goroutine owns
// the one socket that writes. All methods may be called concurrently.
type Kernel struct {
	options  Options
	features Features
	clock    clock

	sets     atomic.Pointer[map[SetRef]*learned] // replaced, never changed; written by the owner only
	ports    portSet                             // of our writing sockets
	commits  atomic.Uint64                       // that changed learned elements
	pool     sync.Pool                           // of *request
	requests chan *request
	calls    chan func()
	notices  chan notice // from the watch
	closing  chan struct{}
	stopped  chan struct{}
	close    sync.Once

	// What follows belongs to the owner goroutine.
	sock     *socket
	batch    *batch
	applied  *Table // what the kernel is to have; nil before the first Apply and after Remove
	applying bool   // a table is being applied: learning must not apply one, too
	learning bool   // a request is being served: applying must not serve another
	changed  bool   // others changed the table while it was being applied
	watch    *watch
	again    *time.Timer // a restoration that failed is tried again
	backoff  time.Duration
	gather   gathering
	later    []*request // wait until the table is applied
}

// Open tries what the kernel can do, in a table that it throws away, and starts the
// owner goroutine. It changes nothing of ours: Apply does.
func Open(o Options) (*Kernel, error) {
	sock, err := openSocket()
	if err != nil {
		return nil, fmt.Errorf("nft: %w", err)
	}
	features, err := probe(sock, o.Table)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("nft: %w", err), sock.close())
	}
	features.Mode = ModePlain
	switch {
	case o.Owner == gateway.OwnerOff || !features.Owner:
	case features.Persist:
		features.Mode = ModeOwned
	default:
		features.Mode = ModeReplica
	}
	if o.Force != "" {
		features.Mode = o.Force
	}
	if o.NoUpdate {
		features.Update = false
	}
	if o.GCInterval <= 0 {
		o.GCInterval = time.Minute
	}
	k := &Kernel{
		options: o, features: features, clock: clock{time.Now()}, sock: sock,
		requests: make(chan *request, 4096), calls: make(chan func()), notices: make(chan notice, 4096),
		closing: make(chan struct{}), stopped: make(chan struct{}),
		again: time.NewTimer(time.Hour),
	}
	k.again.Stop()
	k.pool.New = func() any { return &request{done: make(chan error, 1)} }
	k.sets.Store(&map[SetRef]*learned{})
	k.ports.add(sock.port())
	go k.run()
	return k, nil
}

// Features says what the running kernel can do and how our table is made.
func (k *Kernel) Features() Features { return k.features }

// Close ends the owner goroutine and leaves everything in the kernel in place.
func (k *Kernel) Close() error {
	k.close.Do(func() { close(k.closing) })
	<-k.stopped
	return nil
}

// run is the owner goroutine.
func (k *Kernel) run() {
	defer close(k.stopped)
	gc := time.NewTicker(k.options.GCInterval)
	defer gc.Stop()
	for {
		k.learnLater()
		select {
		case r := <-k.requests:
			k.learn(r)
		case call := <-k.calls:
			call()
		case n := <-k.notices:
			k.heed(n)
		case <-k.again.C:
			if k.applied != nil {
				// Told by OnLoss, and tried again.
				_ = k.restore([]string{"seen before"})
			}
		case <-gc.C:
			for _, s := range *k.sets.Load() {
				s.forgetExpired(k.clock.now())
			}
		case <-k.closing:
			k.stopWatch()
			// Closing the socket is what leaves an owned table to whoever comes next;
			// that it fails is nobody's to act upon.
			_ = k.sock.close()
			return
		}
	}
}

// interlude serves what queued while a long change is made, between two of its
// transactions.
func (k *Kernel) interlude() {
	for !k.learning {
		select {
		case r := <-k.requests:
			k.learn(r)
		case n := <-k.notices:
			k.heed(n)
		default:
			return
		}
	}
}

// aside serves what queues while f runs, which must not touch what belongs to the
// owner goroutine.
func (k *Kernel) aside(f func()) {
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	if k.learning {
		<-done
		return
	}
	for {
		select {
		case <-done:
			return
		case r := <-k.requests:
			k.learn(r)
		case n := <-k.notices:
			k.heed(n)
		}
	}
}

// do runs a function on the owner goroutine and waits for it, or for ctx.
func (k *Kernel) do(ctx context.Context, f func() error) error {
	done := make(chan error, 1)
	select {
	case k.calls <- func() { done <- f() }:
	case <-ctx.Done():
		return ctx.Err()
	case <-k.stopped:
		return ErrClosed
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// reopen replaces the socket after it broke. The table of an owner that closes its
// socket stays, and is adopted again by the apply that must follow.
func (k *Kernel) reopen() error {
	// The old one must go first: it may own the table. It is broken already.
	_ = k.sock.close()
	sock, err := openSocket()
	if err != nil {
		return err
	}
	k.sock = sock
	k.ports.add(sock.port())
	return nil
}

// track begins to follow a set.
func (k *Kernel) track(ref SetRef) *learned {
	old := *k.sets.Load()
	if s, ok := old[ref]; ok {
		return s
	}
	s := newLearned(ref)
	sets := maps.Clone(old)
	sets[ref] = s
	k.sets.Store(&sets)
	return s
}

// untrack forgets the sets of our table that are not wanted any more.
func (k *Kernel) untrack(table string, wanted func(name string) bool) {
	sets := maps.Clone(*k.sets.Load())
	maps.DeleteFunc(sets, func(r SetRef, s *learned) bool {
		gone := r.Family == "inet" && r.Table == table && !wanted(r.Name)
		if gone {
			s.live.Store(false)
		}
		return gone
	})
	k.sets.Store(&sets)
}

// portSet holds the netlink ports of our writing sockets, the last ones first, so
// that the watch can tell our own changes from others'.
type portSet struct {
	mu    sync.RWMutex
	ports []uint32
}

func (p *portSet) add(port uint32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ports = append([]uint32{port}, p.ports[:min(len(p.ports), 7)]...)
}

func (p *portSet) has(port uint32) bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return slices.Contains(p.ports, port)
}
