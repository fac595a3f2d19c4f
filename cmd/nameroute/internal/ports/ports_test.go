package ports_test

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/exit"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/ports"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/testbox"
	"github.com/nameroute/nameroute/gateway/firewall"
	"github.com/nameroute/nameroute/test/netlab"
)

func TestMain(m *testing.M) { netlab.Main(m) }

func TestHolderOfAPortIsNamed(t *testing.T) {
	pid := testbox.StubResolver(t)
	all := []firewall.Listener{{Proto: "udp", Port: 53}, {Proto: "udp", Port: 53, Addr: netip.MustParseAddr("127.0.0.1")}}
	errs := ports.InUse(all)
	want := fmt.Sprintf("listen udp :53: bind: address already in use: port 53 is in use by systemd-resolve (process %d): either set DNSStubListener=no in /etc/systemd/resolved.conf and restart systemd-resolved, or bind the blocks to the LAN's address (`bind 192.168.1.1` in each)", pid)
	if len(errs) != 1 || errs[0].Error() != want || exit.Code(errs[0]) != exit.Port {
		t.Errorf("got  %v\nwant %s", errs, want)
	}
}
