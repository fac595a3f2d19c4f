package query

import "context"

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
