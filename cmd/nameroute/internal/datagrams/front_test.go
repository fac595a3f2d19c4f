package datagrams

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/plugin/pkg/replay"
)

// serve answers the queries of a server with an address until the server ends. Those that
// may be are remembered.
func serve(t *testing.T, s *Server, address string) {
	b := make([]byte, 512)
	for {
		n, from, err := s.ReadFrom(b)
		if err != nil {
			return
		}
		_, recording := replay.Record(context.Background(), from)
		q := new(dns.Msg)
		if err := q.Unpack(b[:n]); err != nil {
			t.Errorf("query %x: %v", b[:n], err)
			continue
		}
		m := new(dns.Msg).SetReply(q)
		rr, err := dns.NewRR(q.Question[0].Name + " 60 IN A " + address)
		if err != nil {
			t.Error(err)
			continue
		}
		m.Answer = []dns.RR{rr}
		wire, err := m.Pack()
		if err == nil {
			_, err = s.WriteTo(wire, from)
		}
		if err != nil {
			t.Errorf("answer %v: %v", from, err)
		}
		if recording != nil {
			recording.Commit()
		}
	}
}

// start opens a front at an address, and ends it with the test.
func start(t *testing.T, address string) (f *Front, port int) {
	t.Helper()
	conn, err := net.ListenPacket("udp", address)
	if err != nil {
		t.Fatal(err)
	}
	f, err = New(conn.(*net.UDPConn))
	if err != nil {
		t.Fatal(err)
	}
	return f, conn.LocalAddr().(*net.UDPAddr).Port
}

func ask(to, name string) (address string, err error) {
	c := dns.Client{Net: "udp", Timeout: 10 * time.Second}
	m, _, err := c.Exchange(new(dns.Msg).SetQuestion(name, dns.TypeA), to)
	if err != nil {
		return "", err
	}
	if len(m.Answer) != 1 {
		return "", fmt.Errorf("%d records", len(m.Answer))
	}
	return m.Answer[0].(*dns.A).A.String(), nil
}

// An answer comes from the address that was asked, or a client would drop it; from memory, too.
func TestSourceAddress(t *testing.T) {
	for _, listen := range []string{":0", "0.0.0.0:0", "127.0.0.9:0", "[::1]:0"} {
		f, port := start(t, listen)
		s := f.Attach()
		var running sync.WaitGroup
		running.Go(func() {
			if err := f.Serve(); err != nil {
				t.Error(err)
			}
		})
		running.Go(func() { serve(t, s, "192.0.2.1") })
		hosts := map[string][]string{":0": {"127.0.0.1", "127.0.0.9", "::1"}, "0.0.0.0:0": {"127.0.0.1", "127.0.0.9"}, "127.0.0.9:0": {"127.0.0.9"}, "[::1]:0": {"::1"}}
		for _, host := range hosts[listen] {
			to := net.JoinHostPort(host, fmt.Sprint(port))
			for range 3 {
				if got, err := ask(to, "www.example."); err != nil || got != "192.0.2.1" {
					t.Errorf("listening on %s, asked at %s: %s, %v", listen, to, got, err)
				}
			}
		}
		f.Close()
		s.Close()
		s.HandOn()
		running.Wait()
	}
}

// A server takes over from another one without the loss of a query, and nothing that the old one
// answered is given again.
func TestTakeOver(t *testing.T) {
	f, port := start(t, "127.0.0.1:0")
	to := fmt.Sprintf("127.0.0.1:%d", port)
	var running, clients sync.WaitGroup
	old := f.Attach()
	oldEnded := make(chan struct{})
	running.Go(func() { serve(t, old, "192.0.2.1"); close(oldEnded) })
	running.Go(func() {
		if err := f.Serve(); err != nil {
			t.Error(err)
		}
	})
	for range 3 {
		if got, err := ask(to, "www.example."); err != nil || got != "192.0.2.1" {
			t.Fatalf("%s, %v", got, err)
		}
	}
	stop := make(chan struct{})
	for i := range 4 {
		clients.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := ask(to, fmt.Sprintf("h%d-%d.example.", i, n)); err != nil {
					t.Errorf("lost: %v", err)
				}
			}
		})
	}
	next := f.Attach()
	running.Go(func() { serve(t, next, "192.0.2.2") })
	if got, err := ask(to, "www.example."); err != nil || got != "192.0.2.2" {
		t.Errorf("after the take-over: %s, %v", got, err)
	}
	if err := old.SetReadDeadline(time.Unix(1, 0)); err != nil {
		t.Error(err)
	}
	<-oldEnded
	old.Close()
	old.HandOn()
	close(stop)
	clients.Wait()
	f.Close()
	next.Close()
	next.HandOn()
	running.Wait()
	if _, _, err := next.ReadFrom(nil); !errors.Is(err, net.ErrClosed) {
		t.Errorf("reading after the end: %v", err)
	}
}
