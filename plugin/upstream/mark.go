package upstream

import (
	"net"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/pkg/markdial"
)

// markedDialer returns a dialer for sockets to resolvers that are reached via the
// mark's route.
func markedDialer(m gateway.Mark) *net.Dialer {
	d := markdial.Dialer(m, 0)
	d.KeepAlive = -1 // idle connections are closed long before a keepalive would be due
	return d
}
