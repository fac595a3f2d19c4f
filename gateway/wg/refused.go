package wg

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/pkg/markdial"
)

// refusalWait is how long a refusal may take to arrive.
const refusalWait = time.Second

// Refused sends one byte to an endpoint and returns the refusal, if one arrives: the host
// says that nothing has the port, or a router that the host is not there. WireGuard itself
// ignores both, and answers nothing that is not of a peer, so nil says nothing.
func Refused(ctx context.Context, endpoint netip.AddrPort, mark gateway.Mark) error {
	c, err := markdial.Dialer(mark, refusalWait).DialContext(ctx, "udp", endpoint.String())
	if err != nil {
		return nil // there is no way there, which is another matter
	}
	defer c.Close()
	if c.SetDeadline(time.Now().Add(refusalWait)) != nil {
		return nil
	}
	if _, err = c.Write([]byte{0}); err == nil {
		_, err = c.Read(make([]byte, 1))
	}
	for _, refusal := range []error{unix.ECONNREFUSED, unix.EHOSTUNREACH, unix.ENETUNREACH, unix.EACCES} {
		if errors.Is(err, refusal) {
			return refusal
		}
	}
	return nil
}
