package updater

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/lists"
)

// try fetches from one mirror, checks what came and takes it up.
func (u *Updater) try(ctx context.Context, one *fetch, m meta, f Flags) (Result, meta, error) {
	s := one.source
	r := Result{List: s.List, Outcome: Unchanged, URL: one.url, Before: m.Rules}
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	same := func(sum string) bool { return sum != "" && (sum == m.SHA256 || sum == m.Rejected) && !f.Force }
	sum, err := one.sum(ctx)
	if err != nil {
		return r, m, slow(ctx, s, err)
	}
	if !same(sum) {
		var g got
		if g, err = one.run(ctx); err != nil {
			return r, m, slow(ctx, s, err)
		}
		m.ETag, m.LastModified = g.etag, g.lastModified
		if !g.unchanged {
			return u.judge(ctx, one, m, f, sum, r)
		}
	}
	m.URL, m.Shipped, m.Part = one.url, false, nil
	m.Checked = u.options.Timers.now()
	return r, m, removeIfThere(u.store.part(s.List)) // of what there was before
}

// judge decides about content that came whole, and takes it up.
func (u *Updater) judge(ctx context.Context, one *fetch, m meta, f Flags, want string, r Result) (_ Result, _ meta, err error) {
	s := one.source
	fresh := u.store.fresh(s.List)
	defer func() {
		if err != nil || f.DryRun {
			err = errors.Join(err, removeIfThere(fresh))
		}
	}()
	sum, err := sumFile(fresh)
	if err != nil {
		return r, m, err
	}
	if want != "" && sum != want {
		return r, m, &refusal{fmt.Sprintf("its SHA-256 is %s, want %s as sha256_url says", sum, want)}
	}
	if err := one.signed(ctx); err != nil {
		return r, m, slow(ctx, s, err)
	}
	now := u.options.Timers.now()
	if (sum == m.SHA256 || sum == m.Rejected) && !f.Force {
		m.URL, m.Shipped, m.Part, m.Checked = one.url, false, nil, now
		return r, m, removeIfThere(fresh)
	}
	before := m.Rules
	if f.Force || m.URL != "" && !slices.Contains(s.URLs, m.URL) {
		before = 0 // on purpose, or another list than the one that is there
	}
	r.Report, err = guard(s, fresh, u.list(s).Format, before)
	if err != nil {
		return r, m, err
	}
	r.Outcome = Updated
	if f.Diff {
		if r.Came, r.Went, err = difference(u.list(s), selected(s, fresh)); err != nil {
			return r, m, err
		}
	}
	if f.DryRun {
		return r, m, nil
	}
	if err := u.store.accept(s.List); err != nil {
		return r, m, fmt.Errorf("store: %w", err)
	}
	return r, meta{
		SHA256: sum, Rules: rules(r.Report), URL: one.url, Fetched: now, Checked: now, ETag: m.ETag, LastModified: m.LastModified,
	}, nil
}

// slow says of an error that came of the time limit which limit that was.
func slow(ctx context.Context, s gateway.Source, err error) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("not done within timeout %v: %w", s.Timeout, err)
	}
	return err
}

func refused(err error) bool {
	var r *refusal
	return errors.As(err, &r) || errors.Is(err, lists.ErrNoEntries)
}
