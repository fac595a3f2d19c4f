package daemon

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/gateway/firewall"
)

// service is what systemd gives a unit with Type=notify and WatchdogSec=: a socket
// that hears what the process tells.
func service(t *testing.T, watchdog time.Duration) (heard chan string) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	t.Setenv("NOTIFY_SOCKET", name)
	t.Setenv("WATCHDOG_USEC", strconv.FormatInt(watchdog.Microseconds(), 10))
	t.Setenv("WATCHDOG_PID", "")
	heard = make(chan string, 1000)
	go func() {
		b := make([]byte, 4096)
		for {
			n, err := c.Read(b)
			if err != nil {
				return
			}
			heard <- string(b[:n])
		}
	}()
	return heard
}

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// The watchdog is fed while the main loop turns, and not for a moment longer.
func TestWatchdogFollowsMainLoop(t *testing.T) {
	const limit = 400 * time.Millisecond
	heard := service(t, limit)
	p := &process{log: quiet(), alive: make(chan struct{})}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { p.feedWatchdog(ctx); close(done) }()
	for range 3 {
		<-p.alive
		select {
		case s := <-heard:
			if s != "WATCHDOG=1" {
				t.Fatalf("systemd heard %q", s)
			}
		case <-time.After(30 * time.Second):
			t.Fatal("the watchdog is not fed while the main loop turns")
		}
	}
	select { // p.alive is read no more: the loop is stuck
	case s := <-heard:
		t.Errorf("the watchdog was fed by a process that is stuck: %q", s)
	case <-time.After(2 * limit):
	}
	cancel()
	<-done
}

func TestWatchdogNotAsked(t *testing.T) {
	service(t, 0)
	t.Setenv("WATCHDOG_USEC", "")
	p := &process{log: quiet(), alive: make(chan struct{})}
	done := make(chan struct{})
	go func() { p.feedWatchdog(t.Context()); close(done) }()
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		t.Fatal("it feeds a watchdog that the unit does not have")
	}
}

// serveChaos answers as CoreDNS does what is not of class IN.
func serveChaos(t *testing.T, network string, l net.Listener, c net.PacketConn) *dns.Server {
	t.Helper()
	up := make(chan struct{})
	s := &dns.Server{Net: network, Listener: l, PacketConn: c, NotifyStartedFunc: func() { close(up) }}
	s.Handler = dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		if q.Question[0].Qclass != dns.ClassCHAOS {
			t.Errorf("a query that may reach an upstream: %v", q.Question[0])
		}
		if err := w.WriteMsg(new(dns.Msg).SetRcode(q, dns.RcodeRefused)); err != nil {
			t.Error(err)
		}
	})
	go s.ActivateAndServe()
	<-up
	t.Cleanup(func() { _ = s.Shutdown() }) // which most of the tests have done
	return s
}

func TestListenersAnswer(t *testing.T) {
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := c.LocalAddr().(*net.UDPAddr).AddrPort()
	tcp, err := net.Listen("tcp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	silent, err := net.ListenPacket("udp", "127.0.0.1:0") // as DNS over QUIC does with a plain query
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	udpServer, tcpServer := serveChaos(t, "udp", nil, c), serveChaos(t, "tcp", tcp, nil)
	mute := silent.LocalAddr().(*net.UDPAddr).AddrPort()
	l := &listenerHealth{answered: map[netip.AddrPort]bool{}, current: func() ([]firewall.Listener, error) {
		return []firewall.Listener{
			{Proto: "udp", Port: at.Port()}, {Proto: "tcp", Port: at.Port()},
			{Proto: "udp", Addr: mute.Addr(), Port: mute.Port()},
		}, nil
	}}
	ask := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 6*time.Second) // of which each exchange has a sixth
		defer cancel()
		return l.check(ctx)
	}
	if err := ask(); err != nil {
		t.Fatalf("both answer, but: %v", err)
	}
	if err := udpServer.Shutdown(); err != nil {
		t.Fatal(err)
	}
	if err := ask(); err != nil {
		t.Fatalf("TCP still answers, but: %v", err)
	}
	if err := tcpServer.Shutdown(); err != nil {
		t.Fatal(err)
	}
	want := "the listener at 127.0.0.1:" + strconv.Itoa(int(at.Port())) + " no longer answers"
	if err := ask(); err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Fatalf("got %v, want %s", err, want)
	}
	l.current = func() ([]firewall.Listener, error) { return nil, nil }
	if err := ask(); err != nil {
		t.Fatalf("a listener that the Corefile no longer has is missed: %v", err)
	}
	l.current = func() ([]firewall.Listener, error) { return nil, errors.New("no server runs") }
	if err := ask(); err == nil {
		t.Error("without a server it answers")
	}
}
