// Package testbox makes small routers in network namespaces, for the tests of commands
// that look at a machine.
package testbox

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/ports"
	"github.com/nameroute/nameroute/gateway/pkg/statefile"
	"github.com/nameroute/nameroute/test/netlab"
)

// Masquerade is the nft ruleset of a plain router.
const Masquerade = "table ip nat { chain postrouting { type nat hook postrouting priority srcnat; oifname wan0 masquerade; } }\n"

// Box is a router with a LAN, a WAN and an OpenVPN link.
type Box struct {
	*netlab.Namespace
	T *testing.T
}

// New makes a Box that forwards and has no firewall.
func New(t *testing.T) Box {
	t.Helper()
	netlab.Need(t, "ip", "nft")
	b := Box{netlab.NewNamespace(t, "router"), t}
	b.Sysctl("net/ipv4/ip_forward=1", "net/ipv6/conf/all/forwarding=1", "net/ipv4/conf/all/rp_filter=0")
	b.IP(
		"link add br-lan type bridge", "addr add 192.168.7.1/24 dev br-lan", "link set br-lan up",
		"link add wan0 type veth peer name isp0", "addr add 198.51.100.2/24 dev wan0", "link set wan0 up", "link set isp0 up",
		"route add default via 198.51.100.1", "tuntap add tun0 mode tun", "link set tun0 up",
	)
	return b
}

// StubResolver starts a program with the name of systemd-resolved's process that holds
// 127.0.0.53, port 53, in the test's own namespace.
func StubResolver(t *testing.T) (pid int) {
	t.Helper()
	netlab.Need(t, "nc")
	nc, err := exec.LookPath("nc")
	if err != nil {
		t.Fatal(err)
	}
	program, err := statefile.ReadFile(nc)
	if err != nil {
		t.Fatal(err)
	}
	stub := filepath.Join(t.TempDir(), "systemd-resolve")
	if err := os.WriteFile(stub, program, 0o700); err != nil {
		t.Fatal(err)
	}
	c := exec.Command(stub, "-l", "-u", "127.0.0.53", "53")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })
	netlab.Eventually(t, 5*time.Second, func() error {
		if len(ports.Holders(53)) == 0 {
			return errors.New("nc does not listen")
		}
		return nil
	})
	return c.Process.Pid
}
