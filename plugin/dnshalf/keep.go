package dnshalf

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/google/renameio/v2"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/firewall"
	"github.com/nameroute/nameroute/gateway/nft"
)

// keepEvery is how often learned addresses are stored, if there are new ones or the
// clock was set: what a loss of power may cost. Everything less than that, the kernel's
// table survives.
const keepEvery = time.Minute

// keeper stores learned addresses, so that a reboot brings back what has not ended.
type keeper struct {
	half   *Half
	file   string
	stored uint64 // nft.Kernel.Changes when the file was last written
	bad    bool   // the last write was refused, and that was said
}

// recall tells the kernel's side what an earlier process stored, before the first apply
// reads the sets. A file that is not ours is set aside; nothing here stops a start.
func (k *keeper) recall(ctx context.Context, cfg *gateway.Config, pairs map[string]nft.SetPair) {
	all, err := k.load(time.Now(), cfg.Lifetime.Ceiling)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		setAside(k.file, err, "what it held is learned again")
	}
	tidy(k.file)
	elems := map[nft.SetRef][]nft.Element{}
	for _, r := range all {
		pair, ok := pairs[r.route]
		if !ok {
			continue // the route has left gateway.yaml
		}
		ref := pair.Set4
		if r.addr.Is6() {
			ref = pair.Set6
		}
		elems[ref] = append(elems[ref], nft.Element{Addr: r.addr, Expires: r.left})
		if len(r.names) > 0 {
			k.half.why(r.route).restore(r.addr, r.names, r.left)
		}
	}
	for ref, elems := range elems {
		if err := k.half.kernel.Remember(ctx, ref, elems); err != nil {
			log.Warningf("learned addresses that were stored: %v", err)
		}
	}
}

func (k *keeper) load(now time.Time, most time.Duration) ([]remembered, error) {
	f, err := openRegular(k.file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readLearned(f, now, most)
}

// run stores what is learned until ctx ends, and then for the last time. Only that
// time the names are stored, too: after a crash they would be those of a minute ago,
// and an address would be taken from a name that it was given to since.
func (k *keeper) run(ctx context.Context) {
	clock := watchClock()
	k.say(k.save(false))
	tick := time.NewTicker(keepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			k.say(k.save(true))
			return
		case <-tick.C:
			k.half.sweepWhys()
			if clock.changed() || k.half.kernel.Changes() != k.stored || k.bad {
				k.say(k.save(false))
			}
		}
	}
}

// say logs when writing starts to be refused, and when it works again: a full disk is
// no reason to stop, nor to say so every minute.
func (k *keeper) say(err error) {
	switch {
	case err != nil && !k.bad:
		log.Warningf("learned addresses cannot be stored, a reboot would forget them: %v", err)
	case err == nil && k.bad:
		log.Infof("learned addresses are stored again")
	}
	k.bad = err != nil
}

// save replaces the file by what is learned now.
func (k *keeper) save(names bool) error {
	changes := k.half.kernel.Changes()
	if err := replaceLearned(k.file, time.Now(), k.half.learned(names)); err != nil {
		return err
	}
	k.stored = changes
	return nil
}

// replaceLearned replaces the file: others, and who comes after a crash, see the old
// one or the new one.
func replaceLearned(file string, now time.Time, all []remembered) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	f, err := renameio.NewPendingFile(file, renameio.WithPermissions(0o600))
	if err != nil {
		return err
	}
	defer f.Cleanup()
	if err := writeLearned(f, now, all); err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	return f.CloseAtomicallyReplace()
}

// learned lists what all routes' sets hold, at most maxLearned of them.
func (h *Half) learned(names bool) []remembered {
	var all []remembered
	for route, pair := range h.pairs() {
		w := h.why(route)
		for _, ref := range []nft.SetRef{pair.Set4, pair.Set6} {
			for _, e := range h.kernel.Learned(ref) {
				r := remembered{route: route, addr: e.Addr, left: e.Expires}
				if names {
					r.names = w.names(e.Addr)
				}
				all = append(all, r)
			}
		}
	}
	if len(all) > maxLearned {
		slices.SortFunc(all, func(a, b remembered) int { return int(b.left - a.left) })
		all = all[:maxLearned]
	}
	return all
}

// pairs are the sets of each route that is learned for: its own, or those of others
// that a block names.
func (h *Half) pairs() map[string]nft.SetPair {
	h.mu.Lock()
	defer h.mu.Unlock()
	return pairsOf(h.Config(), h.plans)
}

func pairsOf(cfg *gateway.Config, plans []*plan) map[string]nft.SetPair {
	pairs := map[string]nft.SetPair{}
	if wantsTable(plans) {
		for _, r := range cfg.Routes {
			pairs[r.Name] = firewall.Pair(r)
		}
	}
	for _, p := range plans {
		for _, r := range p.routes {
			if _, ok := cfg.Route(r.name); ok && r.foreign != nil {
				pairs[r.name] = *r.foreign
			}
		}
	}
	return pairs
}
