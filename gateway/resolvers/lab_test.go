package resolvers

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/ipv6"

	"github.com/nameroute/nameroute/test/netlab"
)

func TestMain(m *testing.M) { netlab.Main(m) }

// router advertises resolvers on its link r0.
type router struct {
	t    *testing.T
	conn *ipv6.PacketConn
	link *net.Interface

	mu        sync.Mutex
	servers   []string
	solicited atomic.Int32
}

// newRouter answers each solicitation with an advertisement of its resolvers.
func newRouter(t *testing.T, n *netlab.Namespace) *router {
	r := &router{t: t}
	n.Do(func() {
		c, err := net.ListenPacket("ip6:ipv6-icmp", "::")
		if err != nil {
			t.Error(err)
			return
		}
		t.Cleanup(func() { c.Close() })
		r.conn = ipv6.NewPacketConn(c)
		if r.link, err = net.InterfaceByName("r0"); err != nil {
			t.Error(err)
			return
		}
		group := &net.IPAddr{IP: net.ParseIP("ff02::2")}
		if err := errors.Join(r.conn.SetMulticastHopLimit(255), r.conn.SetMulticastInterface(r.link), r.conn.JoinGroup(r.link, group)); err != nil {
			t.Error(err)
		}
	})
	if t.Failed() {
		t.FailNow()
	}
	go func() {
		b := make([]byte, 1500)
		for {
			n, _, _, err := r.conn.ReadFrom(b)
			if err != nil {
				return
			}
			if n > 0 && b[0] == byte(ipv6.ICMPTypeRouterSolicitation) {
				r.solicited.Add(1)
				r.mu.Lock()
				servers := r.servers
				r.mu.Unlock()
				r.advertise(1800, servers...)
			}
		}
	}()
	return r
}

func (r *router) answer(servers ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.servers = servers
}

// advertise sends one advertisement (RFC 4861 section 4.2, RFC 8106 section 5.1). It has to
// have a link-local address, which is new.
func (r *router) advertise(lifetime uint32, servers ...string) {
	ra := []byte{134, 0, 0, 0, 64, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, optionRDNSS, byte(1 + 2*len(servers)), 0, 0, 0, 0, 0, 0}
	binary.BigEndian.PutUint32(ra[20:], lifetime)
	for _, s := range servers {
		a := netip.MustParseAddr(s).As16()
		ra = append(ra, a[:]...)
	}
	netlab.Eventually(r.t, 30*time.Second, func() error {
		_, err := r.conn.WriteTo(ra, nil, &net.IPAddr{IP: net.ParseIP("ff02::1"), Zone: strconv.Itoa(r.link.Index)})
		return err
	})
}

// Routers are asked for their resolvers at a start, what they advertise is followed until it
// is withdrawn or expires, and kept for the next process; a link that lost its carrier may be in
// another network.
func TestAdvertisementsAreFollowed(t *testing.T) {
	t.Parallel()
	box, far := netlab.NewNamespace(t, "box"), netlab.NewNamespace(t, "router")
	netlab.Cable(box, "wan0", far, "r0")
	box.Sysctl("net/ipv6/conf/all/forwarding=1", "net/ipv6/conf/wan0/accept_ra=2")
	r := newRouter(t, far)
	r.answer("2001:db8::53")
	file := filepath.Join(t.TempDir(), "advertised")

	start := func() (stop func()) {
		ctx, cancel := context.WithCancel(context.Background())
		a := Advertisements{File: file, Log: slog.New(slog.DiscardHandler), Solicited: func(string) bool { return true }}
		var running sync.WaitGroup
		running.Go(func() { box.Do(func() { a.Run(ctx) }) })
		stop = sync.OnceFunc(func() {
			cancel()
			running.Wait()
		})
		t.Cleanup(stop)
		return stop
	}
	known := func() string {
		text, err := os.ReadFile(file)
		if err != nil && !os.IsNotExist(err) {
			t.Error(err)
		}
		var all []string
		for _, a := range parseAdvertisements(text) {
			if !a.expired(sinceBoot()) {
				all = append(all, a.link+" "+a.server.String())
			}
		}
		return strings.Join(all, ", ")
	}
	await := func(when, want string) {
		t.Helper()
		netlab.Eventually(t, 60*time.Second, func() error {
			got := known()
			return netlab.Check(got == want, "%s: %s, want %s", when, got, want)
		})
	}

	stop := start()
	await("solicited", "wan0 2001:db8::53")
	r.advertise(1800, "2001:db8::53", "fe80::53")
	await("another one", "wan0 2001:db8::53, wan0 fe80::53")
	r.advertise(0, "2001:db8::53")
	await("withdrawn", "wan0 fe80::53")
	r.advertise(4, "2001:db8::54")
	netlab.Eventually(t, 60*time.Second, func() error {
		got := known()
		return netlab.Check(strings.Contains(got, "2001:db8::54"), "known: %s", got)
	})
	await("expired", "wan0 fe80::53")

	stop()
	before := r.solicited.Load()
	r.answer("2001:db8::55")
	if got := known(); got != "wan0 fe80::53" {
		t.Errorf("after the process has ended: %s", got)
	}
	start()
	netlab.Eventually(t, 60*time.Second, func() error {
		got := known()
		return netlab.Check(strings.Contains(got, "2001:db8::55") && strings.Contains(got, "fe80::53"), "after a restart: %s", got)
	})
	if n := r.solicited.Load(); n == before {
		t.Error("the next process has not asked")
	}

	r.answer("2001:db8::56")
	far.Down("r0")
	await("without a carrier", "")
	far.Up("r0")
	await("plugged in anew", "wan0 2001:db8::56")
}
