package query

import (
	"context"
	"sync/atomic"
)

type withoutIPv6 struct{}

// ContextWithoutIPv6 tells the handlers below that the route of this query's
// block has no IPv6, so that AAAA must be answered NODATA. It has to be decided
// below dns64, which then still synthesises from A (RFC 6147 section 5.1.2).
func ContextWithoutIPv6(ctx context.Context) context.Context {
	return context.WithValue(ctx, withoutIPv6{}, true)
}

// WithoutIPv6 reports whether ContextWithoutIPv6 marked the context.
func WithoutIPv6(ctx context.Context) bool {
	v, _ := ctx.Value(withoutIPv6{}).(bool)
	return v
}

// Reason is the context of one query. A handler below that answers SERVFAIL without
// writing a message leaves in it why, for the handler above that made it. Returned as an
// error it would end up in the cache between the two: CoreDNS's cache keeps every SERVFAIL
// that comes with an error, without its reason, also that of a query that was never sent.
type Reason struct {
	context.Context
	err atomic.Pointer[error]
}

type reasonKey struct{}

// Value implements context.Context.
func (r *Reason) Value(key any) any {
	if key == (reasonKey{}) {
		return r
	}
	return r.Context.Value(key)
}

// Why returns what SetReason left, or nil.
func (r *Reason) Why() error {
	if err := r.err.Load(); err != nil {
		return *err
	}
	return nil
}

// SetReason leaves err in the Reason of ctx. It reports false where there is none, so that err
// would go unnoticed.
func SetReason(ctx context.Context, err error) bool {
	r, ok := ctx.Value(reasonKey{}).(*Reason)
	if ok {
		r.err.Store(&err)
	}
	return ok
}
