package route

import (
	"context"

	"github.com/coredns/coredns/plugin/metadata"

	"github.com/nameroute/nameroute/gateway"
)

// labels are the values of the metadata route/name, made once: a query must not allocate.
type labels struct{ up, fallback metadata.Func }

func labelsOf(route string) labels {
	return labels{
		up:       func() string { return route },
		fallback: func() string { return gateway.WAN },
	}
}

// publish offers the route that the answer's addresses take to *log* and others. Without
// *metadata* in the block it does nothing.
func (l labels) publish(ctx context.Context, fallback bool) {
	value := l.up
	if fallback {
		value = l.fallback
	}
	metadata.SetValueFunc(ctx, "route/name", value)
}
