package updater

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/lists"
	"github.com/nameroute/nameroute/lists/format"
)

// tryMirrorLocked fetches from one mirror and accepts what is new.
func (u *Updater) tryMirrorLocked(ctx context.Context, one *fetch, m meta, f Flags) (Result, meta, error) {
	s := one.source
	r := Result{List: s.List, Outcome: Unchanged, URL: one.url, Before: m.Rules}
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	sum, err := one.publishedSum(ctx)
	if err != nil {
		return r, m, nameTimeout(ctx, s, err)
	}
	if sum == "" || !m.knows(sum) || f.Force {
		received, err := one.run(ctx)
		if err != nil {
			return r, m, nameTimeout(ctx, s, err)
		}
		m.ETag, m.LastModified = received.etag, received.lastModified
		if !received.unchanged {
			return u.acceptLocked(ctx, one, m, f, sum, r)
		}
	}
	m.URL, m.Shipped, m.Part = one.url, false, nil
	m.Checked = u.options.Timers.now()
	return r, m, removeIfExists(u.store.part(s.List)) // of an earlier content
}

// acceptLocked verifies content that was received in full, checks it as the gateway
// would read it, and installs it. want is the SHA-256 that it must have; "" for any.
func (u *Updater) acceptLocked(ctx context.Context, one *fetch, m meta, f Flags, want string, r Result) (_ Result, _ meta, err error) {
	s := one.source
	incoming := u.store.incoming(s.List)
	defer func() {
		if err != nil || f.DryRun {
			err = errors.Join(err, removeIfExists(incoming))
		}
	}()
	sum, err := sumFile(incoming)
	if err != nil {
		return r, m, err
	}
	if want != "" && sum != want {
		return r, m, &refusal{fmt.Sprintf("its SHA-256 is %s, want %s as in sha256_url", sum, want)}
	}
	if err := one.verifySignature(ctx); err != nil {
		return r, m, nameTimeout(ctx, s, err)
	}
	now := u.options.Timers.now()
	if m.knows(sum) && !f.Force {
		m.URL, m.Shipped, m.Part, m.Checked = one.url, false, nil, now
		return r, m, removeIfExists(incoming)
	}
	before := m.Rules
	if f.Force || m.URL != "" && !slices.Contains(s.URLs, m.URL) {
		before = 0 // on purpose, or the content in use is of another list
	}
	r.Report, err = checkContent(s, incoming, u.listLocked(s).Format, before)
	if err != nil {
		return r, m, err
	}
	r.Outcome = Updated
	if f.Diff {
		if r.Added, r.Removed, err = diff(u.listLocked(s), selected(s, incoming)); err != nil {
			return r, m, err
		}
	}
	if f.DryRun {
		return r, m, nil
	}
	if err := u.store.install(s.List); err != nil {
		return r, m, fmt.Errorf("store: %w", err)
	}
	return r, meta{
		SHA256: sum, Rules: countEntries(r.Report), URL: one.url, Fetched: now, Checked: now, ETag: m.ETag, LastModified: m.LastModified,
	}, nil
}

// nameTimeout adds to an error that the list's timeout caused which limit that was.
func nameTimeout(ctx context.Context, s gateway.Source, err error) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("not done within timeout %v: %w", s.Timeout, err)
	}
	return err
}

func isRefusal(err error) bool {
	var r *refusal
	return errors.As(err, &r) || errors.Is(err, format.ErrNoEntries) || errors.Is(err, format.ErrNotList) || errors.Is(err, lists.ErrBudget)
}
