package wg

import (
	"errors"
	"net"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/nameroute/nameroute/gateway"
)

// A host without WireGuard refuses the port; what listens there is silent, as WireGuard is.
func TestRefused(t *testing.T) {
	for _, at := range []string{"127.0.0.1:0", "[::1]:0"} {
		c, err := net.ListenPacket("udp", at)
		if err != nil {
			t.Fatal(err)
		}
		to := c.LocalAddr().(*net.UDPAddr).AddrPort()
		if err := Refused(t.Context(), to, gateway.Mark{}); err != nil {
			t.Errorf("%s: refused though it listens: %v", to, err)
		}
		c.Close()
		if err := Refused(t.Context(), to, gateway.Mark{}); !errors.Is(err, unix.ECONNREFUSED) {
			t.Errorf("%s: %v, want a refusal", to, err)
		}
	}
}
