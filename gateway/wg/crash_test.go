package wg

import (
	"bufio"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/ipv4"
)

// startChild starts a process that holds the tunnel, and waits until it is applied.
func startChild(t *testing.T, link, conf string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), childEnv+"="+link, "NETLAB_INSIDE=")
	cmd.Stdin = strings.NewReader(conf)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("child: %q %v", line, err)
	}
	return cmd
}

// TestCrash: SIGKILL leaves the device, its addresses and its kernel routes; packets
// into it go nowhere; the next process adopts it, and a TCP flow goes on.
func TestCrash(t *testing.T) {
	f := newFar(t, "fc", 15, "")
	cmd := startChild(t, "wgc", f.conf)
	t.Cleanup(func() { Remove("wgc") })
	run(t, "ip route add default dev wgc table 7299")
	run(t, "ip route add 10.9.15.0/24 dev wgc")
	run(t, "ip route add fd09:15::/64 dev wgc")
	if err := ping(15); err != nil {
		t.Fatal(err)
	}
	flow := echoFlow(t, "fc", "10.9.15.1:7")
	flow(t)

	before := run(t, "ip -o addr show dev wgc") + run(t, "ip route show table 7299")
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	after := run(t, "ip -o addr show dev wgc") + run(t, "ip route show table 7299")
	if plain(after) != plain(before) {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
	// The kernel drops the carrier at once and reports the link's state a little later.
	eventually(t, 5*time.Second, "the dead tunnel has no carrier", func() bool {
		return strings.Contains(run(t, "ip link show wgc"), "NO-CARRIER")
	})
	if echo("ip4:icmp", "10.9.15.1", ipv4.ICMPTypeEcho, 1, time.Second) == nil {
		t.Error("a dead tunnel carries packets")
	}

	began := time.Now()
	tun := mustOpen(t, "wgc")
	changes := mustApply(t, tun, f.want(t))
	t.Logf("taken over in %v: %q", time.Since(began), changes)
	for _, c := range changes {
		if strings.HasPrefix(c, "addresses") || strings.HasPrefix(c, "mtu") || c == "up" || strings.HasPrefix(c, "alias") {
			t.Errorf("a taken over link was changed: %s", c)
		}
	}
	flow(t)
	if err := ping(15); err != nil {
		t.Fatal(err)
	}

	// A clean end leaves the same behind.
	tun.Close()
	if closed := run(t, "ip -o addr show dev wgc") + run(t, "ip route show table 7299"); plain(closed) != plain(before) {
		t.Errorf("after Close:\n%s", closed)
	}
	if err := Remove("wgc"); err != nil {
		t.Fatal(err)
	}
}

// A killed process cannot remove its control socket; who removes its tunnel does.
func TestRemoveAfterACrash(t *testing.T) {
	f := newFar(t, "fd", 18, "")
	cmd := startChild(t, "wgd", f.conf)
	const socket = "/var/run/wireguard/wgd.sock"
	if _, err := os.Stat(socket); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	for range 2 {
		if err := Remove("wgd"); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(socket); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("control socket: %v", err)
		}
	}
}

// plain drops what the kernel says of the carrier.
func plain(s string) string { return strings.ReplaceAll(s, " linkdown", "") }

// echoFlow opens a TCP connection to an echo server in the far namespace and
// returns a function that sends a line through it and waits for it to come back.
func echoFlow(t *testing.T, ns, at string) func(*testing.T) {
	t.Helper()
	l := listenIn(t, ns, at)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { io.Copy(c, c); c.Close() }()
		}
	}()
	c, err := net.DialTimeout("tcp", at, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); l.Close() })
	r := bufio.NewReader(c)
	return func(t *testing.T) {
		t.Helper()
		c.SetDeadline(time.Now().Add(20 * time.Second))
		began := time.Now()
		if _, err := io.WriteString(c, "hello\n"); err != nil {
			t.Fatal(err)
		}
		if _, err := r.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		t.Logf("the flow answered in %v", time.Since(began))
	}
}
