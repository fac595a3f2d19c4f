package upstream

import (
	"context"
	"errors"
	"net"
	"os"

	"github.com/nameroute/nameroute/plugin/upstream/mux"
	"github.com/nameroute/nameroute/plugin/upstream/trust"
)

// reason returns the word for an error in the metrics.
func reason(err error) string {
	var f *mux.Failure
	var n net.Error
	switch {
	case errors.As(err, &f):
		return f.Reason
	case trust.Distrusted(err):
		return "certificate"
	case errors.Is(err, errIgnored):
		return "ignored"
	case errors.Is(err, errUnpack):
		return "malformed"
	case local(err):
		return "unreachable"
	case errors.Is(err, errTimeout), errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &n) && n.Timeout():
		return "timeout"
	}
	return "connection"
}
