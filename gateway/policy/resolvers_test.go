package policy

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nameroute/nameroute/test/netlab"
)

// resolvConf puts a text in the place of /etc/resolv.conf, in our own mount namespace.
func resolvConf(t *testing.T, text string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(file, systemResolvers[0], "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(systemResolvers[0], unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
}

func TestWANResolvers(t *testing.T) {
	netlab.Need(t, "ip")
	lab(t) // the box is 192.168.1.1 and fd00:1::1, among others
	const stub = "nameserver 127.0.0.53\nnameserver ::1\nnameserver 192.168.1.1\nnameserver fd00:1::1\n"
	resolved := systemResolvers[1]
	if err := os.MkdirAll(filepath.Dir(resolved), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, conf, resolved string
		user                 []netip.AddrPort
		want                 []string
	}{
		{"the user's", "nameserver 192.0.2.53\n", "", []netip.AddrPort{netip.MustParseAddrPort("192.0.2.54:5353")}, []string{"192.0.2.54:5353"}},
		{"the system's", stub + "nameserver 192.0.2.53\nnameserver fe80::1%wan0\n", "", nil, []string{"192.0.2.53:53", "[fe80::1%wan0]:53"}},
		{"behind a stub", stub, "nameserver 2001:db8:1::53\n", nil, []string{"[2001:db8:1::53]:53"}},
		{"none but ourselves", stub, "nameserver 0.0.0.0\nnameserver nonsense\n", nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			resolvConf(t, c.conf)
			if err := os.WriteFile(resolved, []byte(c.resolved), 0o644); err != nil {
				t.Fatal(err)
			}
			cfg := config()
			cfg.File, cfg.WANResolvers = "/etc/nameroute/gateway.yaml", c.user
			servers, err := WANResolvers(cfg)
			var got []string
			for _, s := range servers {
				got = append(got, s.String())
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("resolvers %v, want %v", got, c.want)
			}
			const none = "no resolver of the WAN is known: want wan_resolvers in /etc/nameroute/gateway.yaml, " +
				"or a nameserver that is not this box in /etc/resolv.conf"
			if c.want == nil && (err == nil || err.Error() != none) {
				t.Errorf("error %v, want %s", err, none)
			}
		})
	}
}

func TestWANDefaults(t *testing.T) {
	lab(t)
	got, err := WANDefaults(config(wireguard("vpn", "wg0")))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"IPv4 default via 192.0.2.1 dev wan0",
		"IPv6 default via 2001:db8:1::1 dev wan0 metric 1024 pref medium",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// A file that is written in place, piece by piece, replaced or deleted is noticed, and
// once each time.
func TestWatchResolvers(t *testing.T) {
	lab(t)
	name := systemResolvers[1]
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	var times atomic.Int32
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		WatchResolvers(ctx, func() { times.Add(1) })
	}()
	defer func() { cancel(); <-done }()
	for i, script := range []string{
		"echo nameserver 192.0.2.53 > FILE",
		"echo nameserver 192.0.2.54 > FILE",
		"(echo nameserver 192.0.2.55; sleep 0.03; echo nameserver 192.0.2.56; sleep 0.03; echo nameserver 192.0.2.57) > FILE",
		"echo nameserver 192.0.2.58 > FILE.new; mv FILE.new FILE",
		"rm FILE",
	} {
		start := time.Now()
		run(t, strings.ReplaceAll(script, "FILE", name))
		soon(t, script, func() bool { return times.Load() == int32(i+1) })
		t.Logf("%s: noticed after %v", script, time.Since(start).Round(time.Millisecond))
	}
	run(t, "touch "+filepath.Dir(name)+"/other")
	time.Sleep(resolverLook + 2*resolverRest)
	if n := times.Load(); n != 5 {
		t.Errorf("%d changes, want 5", n)
	}
}
