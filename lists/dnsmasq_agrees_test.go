package lists

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/lists/entry"
	"github.com/nameroute/nameroute/test/netlab"
)

// answerer runs a resolver on loopback that answers every query with one address.
func answerer(t *testing.T, address string) (port int) {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &dns.Server{PacketConn: pc, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		rr, err := dns.NewRR(q.Question[0].Name + " 0 IN A " + address)
		if err != nil {
			m.Rcode = dns.RcodeServerFailure
		} else {
			m.Answer = []dns.RR{rr}
		}
		_ = w.WriteMsg(m) // a lost answer fails the test at its client
	})}
	started := make(chan struct{})
	s.NotifyStartedFunc = func() { close(started) }
	done := make(chan error, 1)
	go func() { done <- s.ActivateAndServe() }()
	<-started
	t.Cleanup(func() {
		_ = s.Shutdown()
		<-done
	})
	return pc.LocalAddr().(*net.UDPAddr).Port
}

// startDnsmasq runs dnsmasq on loopback with a configuration, and returns its address. The
// usual resolver answers 192.0.2.1, that of listed names 192.0.2.2.
func startDnsmasq(t *testing.T, conf func(listed string) string) (addr string) {
	t.Helper()
	program, err := exec.LookPath("dnsmasq")
	if err != nil {
		if os.Getenv("NETLAB") == "require" {
			t.Fatal(err)
		}
		t.Skip("no dnsmasq here")
	}
	usual, listed := answerer(t, "192.0.2.1"), answerer(t, "192.0.2.2")
	l, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.LocalAddr().(*net.UDPAddr).Port
	l.Close()
	file := filepath.Join(t.TempDir(), "dnsmasq.conf")
	write(t, file, conf(fmt.Sprintf("127.0.0.1#%d", listed)))
	ctx, cancel := context.WithCancel(context.Background())
	c := exec.CommandContext(ctx, program, "-k", "-C", file, "--no-resolv", "--no-hosts", "--cache-size=0",
		"--listen-address=127.0.0.1", "--bind-interfaces", "--dns-forward-max=1000", "--user=", "--group=",
		"--pid-file=", fmt.Sprintf("--port=%d", port), fmt.Sprintf("--server=127.0.0.1#%d", usual))
	c.Stderr = os.Stderr
	if err := c.Start(); err != nil {
		cancel()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = c.Wait() // it was killed
	})
	return fmt.Sprintf("127.0.0.1:%d", port)
}

// sentToListed queries dnsmasq for all names at once and returns which of them went to the
// resolver of listed names.
func sentToListed(t *testing.T, addr string, names []string) map[string]bool {
	t.Helper()
	conn, err := dns.Dial("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	listed := map[string]bool{}
	netlab.Eventually(t, 20*time.Second, func() error {
		m, err := ask(conn, "up.test")
		return netlab.Check(err == nil && len(m.Answer) == 1, "dnsmasq does not answer: %v", err)
	})
	for _, name := range names {
		var m *dns.Msg
		for range 3 {
			if m, err = ask(conn, name); err == nil {
				break
			}
		}
		if err != nil || len(m.Answer) != 1 {
			t.Fatalf("%s: %v, %v", name, m, err)
		}
		listed[name] = m.Answer[0].(*dns.A).A.String() == "192.0.2.2"
	}
	return listed
}

func ask(conn *dns.Conn, name string) (*dns.Msg, error) {
	q := new(dns.Msg).SetQuestion(dns.Fqdn(name), dns.TypeA)
	if err := conn.SetDeadline(time.Now().Add(2 * time.Second)); err != nil {
		return nil, err
	}
	if err := conn.WriteMsg(q); err != nil {
		return nil, err
	}
	for {
		m, err := conn.ReadMsg()
		if err != nil || m.Id == q.Id {
			return m, err
		}
	}
}

func compareWithDnsmasq(t *testing.T, conf func(listed string) string, names []string) {
	t.Helper()
	slices.Sort(names)
	names = slices.Compact(names)
	addr := startDnsmasq(t, conf)
	theirs := sentToListed(t, addr, names)
	file := filepath.Join(t.TempDir(), "x.conf")
	write(t, file, conf("127.0.0.1#1"))
	l, errs := Open([]gateway.List{{Name: "l", File: file, Format: "dnsmasq"}}, Options{})
	wantErrors(t, errs)
	ix := l.Index()
	wrong, yes := 0, 0
	for _, name := range names {
		if theirs[name] {
			yes++
		}
		if ours := which(ix, name) == "l"; ours != theirs[name] {
			if wrong++; wrong < 10 {
				t.Errorf("%s: listed %v, dnsmasq %v, by %v", name, ours, theirs[name], rulesOn(t, conf("LISTED"), name))
			}
		}
	}
	if wrong > 0 || yes == 0 || yes == len(names) {
		t.Errorf("%d of %d names differ, dnsmasq has %d", wrong, len(names), yes)
	}
}

// rulesOn returns the lines that match a name.
func rulesOn(t *testing.T, conf, name string) (rules []string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "x.conf")
	write(t, file, conf)
	verdicts, err := Test(gateway.List{Name: "l", File: file, Format: "dnsmasq"}, name)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range verdicts[0].Origins {
		rules = append(rules, o.Text)
	}
	return rules
}

// TestDnsmasqAgreesOnRandomLines uses random names of few different labels: they are above,
// below and beside each other.
func TestDnsmasqAgreesOnRandomLines(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	name := func() string {
		labels := make([]string, 1+r.IntN(4))
		for i := range labels {
			labels[i] = []string{"a", "b", "ab", "ba", "x1"}[r.IntN(5)]
		}
		return strings.Join(labels, ".") + ".test"
	}
	var lines, names []string
	for i := range 120 {
		n := name()
		names = append(names, n, "y."+n, "y"+n)
		switch {
		case i%10 == 9:
			lines = append(lines, "server=/*."+n+"/LISTED")
		case i%10 == 8:
			lines = append(lines, "server=/*."+n+"/#")
		case i%10 >= 6:
			lines = append(lines, "server=/"+n+"/#")
		case i%10 == 5:
			lines = append(lines, "server=/"+n+"/"+name()+"/LISTED")
		default:
			lines = append(lines, "server=/"+n+"/LISTED")
		}
	}
	for range 2500 {
		names = append(names, name())
	}
	compareWithDnsmasq(t, func(listed string) string {
		return strings.ReplaceAll(strings.Join(lines, "\n"), "LISTED", listed) + "\n"
	}, names)
}

// TestDnsmasqAgreesOnContradictions uses lines that contradict each other, and wildcards inside
// a label, which must not meet exceptions.
func TestDnsmasqAgreesOnContradictions(t *testing.T) {
	for _, conf := range []string{
		"server=/x.test/#\nserver=/x.test/LISTED\nserver=/z.test/LISTED\n",
		"server=/x.test/LISTED\nserver=/x.test/#\nserver=/x.test/LISTED\nserver=/z.test/LISTED\n",
		"server=/*.x.test/LISTED\nserver=/x.test/#\n",
		"server=/x.test/LISTED\nserver=/*.x.test/#\n",
		"server=/*.x.test/#\nserver=/*.x.test/LISTED\nserver=/z.test/LISTED\n",
		"server=/*x.test/LISTED\nserver=/x.test/#\n",
		"server=/*x.test/LISTED\nserver=/*y.test/LISTED\nserver=/a.xx.test/LISTED\n",
	} {
		compareWithDnsmasq(t, func(listed string) string { return strings.ReplaceAll(conf, "LISTED", listed) },
			[]string{"x.test", "y.x.test", "yx.test", "z.test", "y.y.x.test", "xx.test", "y.test", "test.test"})
	}
}

func TestDnsmasqAgreesOnRealList(t *testing.T) {
	text := string(readReal(t, "accelerated-domains.china.conf"))
	var names []string
	all := strings.Split(strings.TrimSpace(text), "\n")
	for i := 0; i < len(all); i += len(all) / 1200 {
		n := strings.Split(all[i], "/")[1]
		_, above, _ := strings.Cut(n, ".")
		names = append(names, n, "www."+n, "x"+n, "unlisted."+above)
	}
	compareWithDnsmasq(t, func(listed string) string {
		return strings.ReplaceAll(text, "114.114.114.114", listed)
	}, slices.DeleteFunc(names, func(n string) bool { return strings.Count(n, ".") == 0 || len(n) > 200 || !isName(n) }))
}

func isName(s string) bool {
	_, reason := entry.CanonicalName(s)
	return reason == ""
}
