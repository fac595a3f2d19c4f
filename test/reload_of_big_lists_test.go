package test

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/test/netlab"
)

// Big lists, gateway.yaml and a provider's file change while cached and fresh names are
// asked for: every query is answered. How late answers come is for BenchmarkReloadStalls to
// say, because it depends on what else the machine does.
func TestReloadOfBigListsLosesNoQuery(t *testing.T) {
	entries := 200_000
	if raceEnabled {
		entries = 30_000
	}
	s := newStalls(t, entries)
	for _, c := range s.changes() {
		for i, r := range s.measure(c.name, c.do) {
			if r.lost > 0 || r.asked == 0 {
				t.Errorf("%s: %d of %d queries for %s names were not answered", c.name, r.lost, r.asked, askedKinds[i])
			}
		}
	}
}

// BenchmarkReloadStalls prints the worst answer while things change, with a list of a
// million names and, where there is one, a real one.
func BenchmarkReloadStalls(b *testing.B) {
	s := newStalls(b, 1_000_000)
	for _, c := range slices.Insert(s.changes(), 0, change{"nothing changes", func() { time.Sleep(3 * time.Second) }}) {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				got := s.measure(c.name, c.do)
				for i, kind := range askedKinds {
					b.ReportMetric(float64(got[i].worst.Microseconds())/1000, "ms-worst-"+kind)
					b.ReportMetric(100*float64(got[i].late)/float64(got[i].asked), "%-over-5ms-"+kind)
				}
				b.ReportMetric(float64(s.asker.Microseconds())/1000, "ms-worst-asker")
			}
		})
	}
}

// askedKinds are the kinds of names that are asked for.
var askedKinds = []string{"cached", "fresh-listed", "fresh-other"}

type change struct {
	name string
	do   func() // returns when the change is applied
}

// stalls is a gateway with big lists that is asked all the time.
type stalls struct {
	*gate
	china bool // there is a real list
	turn  int
	asker time.Duration // how late the test's own process was, at worst
}

func newStalls(t testing.TB, entries int) *stalls {
	g := bareGate(t, netlab.Options{GoResolvers: true})
	g.Box.WriteFiles(netlab.Setup{})
	// The client and the servers of the world are this process: none shall wait for a
	// thread of the other's.
	before := runtime.GOMAXPROCS(runtime.NumCPU() + 2)
	t.Cleanup(func() { runtime.GOMAXPROCS(before) })
	s := &stalls{gate: g}
	var text bytes.Buffer
	for i := range entries {
		fmt.Fprintf(&text, "name%d.zone%d.big.example\n", i, i%997)
	}
	g.Box.Write("big.txt", text.String())
	lists := "mine big"
	config := g.read("gateway.yaml") + "  big: {file: " + filepath.Join(g.Box.Dir, "big.txt") + "}\n"
	if dir := listsFolder(); dir != "" {
		china, err := os.ReadFile(filepath.Join(dir, "accelerated-domains.china.conf"))
		s.china = err == nil // without it the rest is measured
		g.Box.Write("china.conf", string(china))
	}
	if s.china {
		lists += " china"
		config += "  china: {file: " + filepath.Join(g.Box.Dir, "china.conf") + "}\n"
	}
	g.Box.Write("gateway.yaml", config)
	core := strings.Replace(g.read("Corefile"), "listed mine", "listed "+lists, 1)
	core = strings.Replace(core, "route vpn\n", "route vpn {\n new_addresses off\n }\n", 1) // one client queries all
	g.Box.Write("Corefile", core)
	g.p = g.Box.Launch(binary, "run")
	g.logs(g.p)
	g.Box.AwaitDNS(g.p, 60*time.Second)
	g.Box.AwaitNames("ready.listed.example", 20*time.Second)
	return s
}

func listsFolder() string {
	if dir := os.Getenv("NAMEROUTE_LISTS"); dir != "" {
		return dir
	}
	const beside = "../../shared/lists"
	if _, err := os.Stat(beside); err != nil {
		return ""
	}
	return beside
}

// changes are what may stall, each with another content each time.
func (s *stalls) changes() []change {
	all := []change{{"big list", func() { s.rewrite("big.txt", "new%d.big.example") }}}
	if s.china {
		all = append(all, change{"real list", func() { s.rewrite("china.conf", "server=/new%d.china.example/114.114.114.114") }})
	}
	return append(all,
		change{"gateway.yaml", func() {
			s.turn++
			s.Box.Write("gateway.yaml", fmt.Sprintf("%s# %d\n", strings.Split(s.read("gateway.yaml"), "# ")[0], s.turn))
			s.nameroute("reload")
		}},
		change{"provider's file", func() {
			s.turn++
			s.Box.Write("wg0.conf", s.WireGuardConf()+fmt.Sprintf("PersistentKeepalive = %d\n", 20+s.turn%10))
			s.nameroute("reload")
			time.Sleep(time.Second) // the sidecar applies it at its own pace
		}})
}

// rewrite replaces a list by itself and one more name, and waits until that is on it.
// Another process does it: with the text in this one's memory, the queries would wait
// for our own collector, and it would look like a late answer.
func (s *stalls) rewrite(file, line string) {
	s.turn++
	logged := strings.Count(s.p.Output(), "lists: reloaded")
	const script = `{ cat "$0" && echo "$1"; } >"$0.new" && mv "$0.new" "$0"`
	if out, err := exec.Command("sh", "-c", script, filepath.Join(s.Box.Dir, file), fmt.Sprintf(line, s.turn)).CombinedOutput(); err != nil {
		s.t.Fatalf("rewrite %s: %v: %s", file, err, out)
	}
	netlab.Eventually(s.t, 60*time.Second, func() error {
		return netlab.Check(strings.Count(s.p.Output(), "lists: reloaded") > logged, "%s is not reloaded:\n%s", file, s.p.Output())
	})
}

// took is how long answers to one kind of names took.
type took struct {
	worst, p99, p95, median time.Duration
	late                    int // over 5 ms
	asked, lost             int
}

// measure asks while something is done, and a moment longer.
func (s *stalls) measure(what string, do func()) []took {
	s.t.Helper()
	s.turn++
	turn := s.turn // do moves it on
	name := func(domain string, fresh bool) func(i int) string {
		if !fresh {
			return func(int) string { return "www." + domain }
		}
		return func(i int) string { return fmt.Sprintf("s%d-%d.%s", turn, i, domain) }
	}
	stop := make(chan struct{})
	results := make([]took, 3)
	var done sync.WaitGroup
	done.Go(func() { s.asker = oversleeps(stop) })
	for i, next := range []func(int) string{name("listed.example", false), name("listed.example", true), name("other.example", true)} {
		pause := []time.Duration{2, 15, 15}[i] * time.Millisecond
		done.Go(func() { results[i] = s.askSteadily(next, pause, stop) })
	}
	do()
	time.Sleep(300 * time.Millisecond)
	close(stop)
	done.Wait()
	for i, kind := range askedKinds {
		r := results[i]
		s.t.Logf("%-16s %-13s worst %8v, 99 of 100 within %8v, 95 within %8v, median %8v, %d of %d over 5 ms, %d lost", what, kind, r.worst, r.p99, r.p95, r.median, r.late, r.asked, r.lost)
	}
	s.t.Logf("%-16s %-13s worst %8v: what was late here and not in the gateway", what, "asker", s.asker.Round(10*time.Microsecond))
	return results
}

// askSteadily asks at a steady pace over one socket, whether answers come or not: a
// stall makes all queries of a while late, not one.
func (s *stalls) askSteadily(name func(int) string, pause time.Duration, stop <-chan struct{}) (r took) {
	conn, err := s.Client.Dial("udp", s.BoxLAN.V4.String()+":53")
	if err != nil {
		s.t.Error(err)
		return took{lost: 1}
	}
	if u, ok := conn.(interface{ SetReadBuffer(int) error }); ok {
		_ = u.SetReadBuffer(4 << 20) // answers wait here while this process does not run
	}
	c := &dns.Conn{Conn: conn, UDPSize: 1232}
	began := make([]atomic.Int64, 1<<16) // by the query's ID
	all := make(chan []time.Duration)
	var answered atomic.Int64
	go func() { all <- readAnswers(c, began, &answered) }()
	for tick := time.NewTicker(pause); ; {
		select {
		case <-stop:
			tick.Stop()
			// What is not answered by then is counted as lost.
			_ = netlab.Poll(30*time.Second, func() error {
				return netlab.Check(answered.Load() == int64(r.asked), "not all answered")
			})
			c.Close()
			r.summary(<-all)
			return r
		case <-tick.C:
		}
		q := newQuery(name(r.asked))
		q.Id = uint16(r.asked)
		began[q.Id].Store(time.Now().UnixNano())
		_ = c.WriteMsg(q) // one that is not sent is not answered
		r.asked++
	}
}

// readAnswers reads until the connection is closed, and returns how long each good
// answer took.
func readAnswers(c *dns.Conn, began []atomic.Int64, answered *atomic.Int64) (all []time.Duration) {
	for {
		reply, err := c.ReadMsg()
		if errors.Is(err, net.ErrClosed) {
			return all
		}
		if err != nil || reply.Rcode != dns.RcodeSuccess || len(reply.Answer) == 0 {
			continue
		}
		if at := began[reply.Id].Swap(0); at != 0 {
			all = append(all, time.Duration(time.Now().UnixNano()-at))
			answered.Add(1)
		}
	}
}

func (r *took) summary(all []time.Duration) {
	r.lost = r.asked - len(all)
	if len(all) == 0 {
		return
	}
	slices.Sort(all)
	at := func(i int) time.Duration { return all[i].Round(10 * time.Microsecond) }
	r.worst, r.p99, r.p95, r.median = at(len(all)-1), at(len(all)*99/100), at(len(all)*95/100), at(len(all)/2)
	for _, d := range all {
		if d > 5*time.Millisecond {
			r.late++
		}
	}
}
