package test

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/test/netlab"
)

// Guarantee 8: fails safe.
// Guarantee 1: set before answer.
// A phone asks all its names over one connection: one whose resolver is slow or dead
// delays no other, and the addresses of answers that overtake others are routed, too.
func TestQueriesOfOneConnection(t *testing.T) {
	t.Parallel()
	g := bareGate(t, netlab.Options{GoResolvers: true})
	g.Box.WriteFiles(netlab.Setup{})
	pool := g.certificate()
	g.Box.Write("Corefile", strings.NewReplacer(
		"/etc/nameroute", g.Box.Dir,
		"upstream vpn", "upstream vpn "+g.Plan.World.V4.String(),
		"upstream wan", "upstream wan "+g.Plan.ISP.V4.String(),
	).Replace(readmeCorefile(t, "https://", "tls /")))
	g.start()
	hold := make(chan struct{})
	release := sync.OnceFunc(func() { close(hold) })
	t.Cleanup(release)
	held := netlab.Behavior{Forge: func(*dns.Msg) { <-hold }}
	g.World.Behave("slow.example", held)
	g.World.Behave("slow.listed.example", held)
	g.World.Behave("silent.example", netlab.Behavior{Silent: true})
	g.Reset()
	var all, overtaken sync.WaitGroup
	for n, at := range g.BoxLAN.All() {
		for _, over := range []string{"tcp", "tls"} {
			overtaken.Add(1)
			all.Go(func() {
				answered := sync.OnceFunc(overtaken.Done)
				defer answered()
				c := g.dialStream(at, over, &tls.Config{RootCAs: pool, ServerName: "box.home.example"})
				defer c.Close()
				id := fmt.Sprintf("%s%d", over, n)
				cached := id + "-cached.other.example"
				g.askStream(c, cached)
				g.nextAnswer(c, cached)
				slow := []string{"1." + id + ".slow.example", "2." + id + ".slow.example", "3." + id + ".slow.listed.example", "4." + id + ".slow.listed.example"}
				quick := []string{cached, id + "-fresh.listed.example", id + "-fresh.other.example"}
				g.askStream(c, id+".silent.example")
				g.askStream(c, slow...)
				g.askStream(c, quick...)
				for range quick {
					m := g.nextAnswer(c, quick...)
					if m == nil {
						return
					}
					if strings.Contains(m.Question[0].Name, "listed") {
						g.wantVia(g.Client, netlab.ViaVPN, addressesIn(m)...)
					}
				}
				answered()
				for range slow {
					g.nextAnswer(c, slow...)
				}
			})
		}
	}
	// No slow query waits for another one: all are with their resolvers at once.
	overtaken.Wait()
	netlab.Eventually(t, 30*time.Second, func() error {
		asked := map[string]bool{}
		for _, q := range g.World.Queries("slow.example", "slow.listed.example") {
			asked[q.Name] = true
		}
		return netlab.Check(len(asked) == 4*4, "only these slow names have been asked for: %v", asked)
	})
	release()
	all.Wait()
	g.wantNoQueryByWAN("listed.example")

	// One client may have many.
	conns := make([]*dns.Conn, 300)
	for i := range conns {
		conns[i] = g.dialStream(g.BoxLAN.V4, "tcp", nil)
		defer conns[i].Close()
	}
	for i, c := range conns {
		g.askStream(c, fmt.Sprintf("many%d.other.example", i))
	}
	for i, c := range conns {
		g.nextAnswer(c, fmt.Sprintf("many%d.other.example", i))
	}

	out, err := g.Client.Exec("dig", "+short", "+https", "@"+g.BoxLAN.V4.String(), "www.other.example")
	if err != nil || strings.TrimSpace(out) == "" {
		t.Errorf("over HTTPS: %s, %v", out, err)
	}
	// RFC 7830 section 4, RFC 8467 section 4.1.
	out, err = g.Client.Exec("kdig", "+tls", "+padding", "+bufsize=1232", "@"+g.BoxLAN.V4.String(), "www.other.example")
	if m := regexp.MustCompile(`Received (\d+) B`).FindStringSubmatch(out); err != nil || m == nil || m[1] != "468" || !strings.Contains(out, "PADDING: ") {
		t.Errorf("an answer over TLS is not padded to 468 bytes: %s, %v", out, err)
	}
	g.stop(g.p)
	if log := g.p.Output(); strings.Contains(log, "Server closed") {
		t.Errorf("the end of a listener is logged as an error:\n%s", log)
	}
}

// readmeCorefile returns README's first Corefile that has all of some words.
func readmeCorefile(t *testing.T, words ...string) string {
	t.Helper()
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for part := range strings.SplitSeq(string(readme), "```corefile\n") {
		text, _, closed := strings.Cut(part, "\n```")
		lacks := func(word string) bool { return !strings.Contains(text, word) }
		if closed && !slices.ContainsFunc(words, lacks) {
			return text + "\n"
		}
	}
	t.Fatalf("README has no Corefile with %q", words)
	return ""
}

// dialStream connects to the box over tcp or tls.
func (g *gate) dialStream(at netip.Addr, over string, c *tls.Config) *dns.Conn {
	g.t.Helper()
	port := map[string]uint16{"tcp": 53, "tls": 853}[over]
	conn, err := g.Client.DialWith(net.Dialer{Timeout: 10 * time.Second}, "tcp", netip.AddrPortFrom(at, port).String())
	if err != nil {
		g.t.Error(err)
		return &dns.Conn{Conn: closedConn{}}
	}
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	if over == "tls" {
		conn = tls.Client(conn, c)
	}
	return &dns.Conn{Conn: conn}
}

// closedConn is a connection that could not be made.
type closedConn struct{ net.Conn }

func (closedConn) Read([]byte) (int, error)  { return 0, net.ErrClosed }
func (closedConn) Write([]byte) (int, error) { return 0, net.ErrClosed }
func (closedConn) Close() error              { return nil }

// askStream sends queries without waiting for their answers.
func (g *gate) askStream(c *dns.Conn, names ...string) {
	g.t.Helper()
	for _, n := range names {
		if err := c.WriteMsg(new(dns.Msg).SetQuestion(dns.Fqdn(n), dns.TypeA)); err != nil {
			g.t.Error(err)
		}
	}
}

// nextAnswer returns the next answer on a connection, which must be to one of the names.
func (g *gate) nextAnswer(c *dns.Conn, names ...string) *dns.Msg {
	g.t.Helper()
	m, err := c.ReadMsg()
	if err != nil {
		g.t.Errorf("no answer for %v: %v", names, err)
		return nil
	}
	for _, n := range names {
		if m.Question[0].Name == dns.Fqdn(n) && m.Rcode == dns.RcodeSuccess && len(addressesIn(m)) > 0 {
			return m
		}
	}
	g.t.Errorf("the next answer is %v, wanted one for %v", m, names)
	return nil
}
