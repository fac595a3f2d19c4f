package test

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/nameroute/nameroute/test/netlab"
)

// The box's own processes are clients too: they ask the box at its loopback address
// and their packets are routed by the output hook.
func TestBoxOwnProcesses(t *testing.T) {
	t.Parallel()
	g := newGate(t, netlab.Setup{})
	// In place: the file is mounted over /etc/resolv.conf of the box.
	resolv := filepath.Join(g.Dir, "box", "resolv.conf")
	if err := os.WriteFile(resolv, []byte("nameserver 127.0.0.1\nnameserver ::1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	g.Reset()
	var listed []netip.Addr
	for _, at := range []string{"127.0.0.1", "::1", g.BoxLAN.V4.String(), g.BoxLAN.V6.String(), g.BoxWAN.V4.String(), g.BoxWAN.V6.String()} {
		for _, how := range []string{"+notcp", "+tcp"} {
			name := fmt.Sprintf("n%d.listed.example", len(listed))
			out, err := g.Box.Dig("@"+at, how, "+short", name, "A", name, "AAAA")
			want := g.World.Addresses(name)
			if err != nil || out != fmt.Sprintf("%s\n%s\n", want.V4, want.V6) {
				t.Errorf("dig @%s %s: %q, %v; want %v", at, how, out, err, want.All())
			}
			listed = append(listed, want.All()...)
		}
	}
	g.wantVia(g.Box.Host, netlab.ViaVPN, listed...)
	for name, want := range map[string]netlab.Egress{"www.listed.example": netlab.ViaVPN, "www.other.example": netlab.ViaWAN} {
		for _, family := range []string{"-4", "-6"} {
			for _, scheme := range []string{"http://", "https://"} {
				if egress, err := g.Box.Curl(scheme+name+"/", family); err != nil || egress != want {
					t.Errorf("curl %s %s%s/ on the box: went %q, %v; want %s", family, scheme, name, egress, err, want)
				}
			}
		}
	}
	g.wantNoneClear(append(listed, g.addresses("www.listed.example")...)...)
	g.wantAsked(netlab.ViaVPN, g.World.Queries("listed.example"))
	g.wantAsked(netlab.ViaWAN, g.World.Queries("other.example"))
	// A source of the tunnel's own, not one that had to be translated on the WAN.
	if foreign := g.ISP.Foreign(); len(foreign) > 0 {
		t.Errorf("%d packets left via the WAN with another's source, the first: %s", len(foreign), foreign[0])
	}
}
