package plugins

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/coredns/caddy"

	"github.com/nameroute/nameroute/plugin/pkg/instance"
	"github.com/nameroute/nameroute/test/netlab"
)

// TestRestartAfterAFailedOne: a Corefile whose route cannot be used is refused, and once
// it can be, the route works and is followed as from the start.
func TestRestartAfterAFailedOne(t *testing.T) {
	netlab.Need(t, "nft", "ip")
	dir := t.TempDir()
	file := filepath.Join(dir, "gateway.yaml")
	write(t, dir, "gateway.yaml", "routes:\n  office: {interface: tun0, table: 7301}\nlists:\n  mine: {file: mine.txt}\n")
	write(t, dir, "mine.txt", "listed.example\n")
	instance.SetDefaults(file, filepath.Join(dir, "state"))
	ip(t, "link add tun0 type veth peer name tun9")
	ip(t, "link set tun9 up")
	ip(t, "link set tun0 up")
	ip(t, "route add default dev tun0 table 7301")
	t.Cleanup(func() { ip(t, "link del tun0") })

	in := func(directive string) caddy.Input {
		text := ".:5300 {\n listed mine\n " + directive + "\n whoami\n}\n.:5300 {\n whoami\n}\n"
		return caddy.CaddyfileInput{Contents: []byte(text), Filepath: "Corefile", ServerTypeName: "dns"}
	}
	inst, err := caddy.Start(in(""))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		for _, err := range append(inst.ShutdownCallbacks(), inst.Stop()) {
			if err != nil {
				t.Error(err)
			}
		}
	}()
	withRoute := in("route office {\n  set inet other a4 a6\n }")
	if _, err := inst.Restart(withRoute); err == nil {
		t.Fatal("sets that are not there are used")
	}
	nft(t, "table inet other { set a4 { type ipv4_addr; flags timeout; }; set a6 { type ipv6_addr; flags timeout; }; }")
	t.Cleanup(func() { nft(t, "delete table inet other") })
	next, err := inst.Restart(withRoute)
	if err != nil {
		t.Fatal(err)
	}
	inst = next
	up := func(want bool) func() error {
		return func() error {
			s, _, err := instance.ReadStatus("")
			if err != nil || s.Routes[0].Up != want {
				return fmt.Errorf("route up %v, want %v (%v)", s.Routes[0].Up, want, err)
			}
			return nil
		}
	}
	netlab.Eventually(t, 5*time.Second, up(true))
	ip(t, "route del default table 7301")
	netlab.Eventually(t, 5*time.Second, up(false))
}

func ip(t *testing.T, args string) {
	t.Helper()
	if out, err := exec.Command("sh", "-c", "ip "+args).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v\n%s", args, err, out)
	}
}
