package dataplane

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"sync"
	"time"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/firewall"
	"github.com/nameroute/nameroute/gateway/learned"
	"github.com/nameroute/nameroute/gateway/nft"
	"github.com/nameroute/nameroute/gateway/pkg/logonce"
	"github.com/nameroute/nameroute/gateway/pkg/statefile"
	"github.com/nameroute/nameroute/gateway/pkg/wallclock"
)

// saveInterval is how often learned addresses are stored, if there are new ones or the clock
// was set: what a power failure may lose. After anything less the kernel still has them.
const saveInterval = time.Minute

// keeper stores learned addresses, so that a reboot restores those that have not expired.
type keeper struct {
	c      *Controller
	file   string
	stored uint64 // kernel.Changes when the file was last written
	edge   logonce.Edge
	bad    bool // the last write failed

	mu       sync.Mutex
	restored bool // the file was read: until then it must not be replaced
}

func newKeeper(c *Controller, file string) *keeper { return &keeper{c: c, file: file} }

// restore loads once what an earlier process stored, before the first apply reads the
// sets. With a table of our own, those of routes that are not in gateway.yaml any more are
// restored, too, to be moved where they belong now. A damaged file is set aside; nothing here fails a start.
func (k *keeper) restore(ctx context.Context, cfg *gateway.Config, pairs map[string]nft.SetPair, table bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.restored || len(pairs) == 0 {
		return
	}
	k.restored = true
	var removed []string // routes that only the earlier process had
	err := k.c.kernel.Load(ctx, k.file, func(route string) (nft.SetPair, bool) {
		pair, ok := pairs[route]
		if !ok && table && !gateway.Reserved(route) {
			if !slices.Contains(removed, route) {
				removed = append(removed, route)
			}
			return firewall.Pair(gateway.Route{Name: route}), true
		}
		return pair, ok
	}, cfg.Lifetime.Ceiling)
	k.c.noteStored(removed)
	switch {
	case err == nil, errors.Is(err, fs.ErrNotExist):
	case ctx.Err() != nil, errors.Is(err, learned.ErrClosed):
		k.c.log.Warn("stored addresses are not restored", "file", k.file, "error", err)
	default:
		bad, renameErr := statefile.SetAside(k.file)
		k.c.log.Warn("stored addresses are damaged; they are learned again with the next answers", "file", k.file, "set_aside", bad, "error", errors.Join(err, renameErr))
	}
	if err := statefile.RemovePending(k.file); err != nil {
		k.c.log.Warn("files of a killed process cannot be removed", "file", k.file, "error", err)
	}
}

func (k *keeper) isRestored() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.restored
}

// run stores what is learned until ctx ends, and then for the last time. Only then the
// names are stored, too: after a crash they would be those of a minute ago, and an address
// would be pruned although another name has used it since.
func (k *keeper) run(ctx context.Context) {
	clock := wallclock.New()
	k.report(k.save(false))
	tick := time.NewTicker(saveInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			k.report(k.save(true))
			return
		case <-tick.C:
			if clock.Stepped() || k.c.kernel.Changes() != k.stored || k.bad {
				k.report(k.save(false))
			}
		}
	}
}

// report logs when writing begins to fail, and when it works again: a full disk is no
// reason to stop, nor to log it every minute.
func (k *keeper) report(err error) {
	switch began, ended := k.edge.Failing("", err); {
	case began:
		k.c.log.Warn("learned addresses cannot be stored, a reboot would lose them", "file", k.file, "error", err)
	case ended:
		k.c.log.Info("learned addresses are stored again", "file", k.file)
	}
	k.bad = err != nil
}

// save replaces the file by what is learned now.
func (k *keeper) save(names bool) error {
	if !k.isRestored() {
		return nil
	}
	changes := k.c.kernel.Changes()
	if err := k.c.kernel.Save(k.file, k.c.pairs(), names); err != nil {
		return err
	}
	k.stored = changes
	return nil
}
