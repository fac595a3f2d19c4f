package test

import (
	endian "encoding/binary"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mdlayher/netlink"
	"github.com/miekg/dns"
	"golang.org/x/sys/unix"

	"github.com/nameroute/nameroute/test/netlab"
)

// headerLength is that of struct nfgenmsg, which begins all messages of nftables.
const headerLength = 4

// generation is the number of the last nftables transaction that changed something in
// the box: it grows with each, whichever program sent it.
func (g *gate) generation() (id uint32) {
	g.t.Helper()
	var err error
	g.Box.Do(func() {
		var c *netlink.Conn
		if c, err = netlink.Dial(unix.NETLINK_NETFILTER, nil); err != nil {
			return
		}
		defer c.Close()
		var replies []netlink.Message
		replies, err = c.Execute(netlink.Message{
			Header: netlink.Header{Type: unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_GETGEN, Flags: netlink.Request},
			Data:   make([]byte, headerLength),
		})
		if err != nil || len(replies) == 0 {
			return
		}
		var attrs *netlink.AttributeDecoder
		if attrs, err = netlink.NewAttributeDecoder(replies[0].Data[headerLength:]); err != nil {
			return
		}
		attrs.ByteOrder = endian.BigEndian
		for attrs.Next() {
			if attrs.Type() == unix.NFTA_GEN_ID {
				id = attrs.Uint32()
			}
		}
		err = attrs.Err()
	})
	if err != nil || id == 0 {
		g.t.Fatalf("read the generation of the ruleset: %d, %v", id, err)
	}
	return id
}

// traced is what system calls on sockets a process made while do ran, a line a call.
func (g *gate) traced(do func()) []string {
	g.t.Helper()
	netlab.Need(g.t, "strace")
	dir := g.Dir + "/strace"
	g.Box.Run("rm", "-rf", dir)
	g.Box.Run("mkdir", dir)
	tracer := g.Box.Start("strace", "-ff", "-yy", "-s", "0", "-e", "trace=%network", "-o", dir+"/thread", "-p", strconv.Itoa(g.p.Pid))
	tracer.WaitOutput("attached", 5*time.Second)
	time.Sleep(100 * time.Millisecond) // to all threads
	do()
	time.Sleep(100 * time.Millisecond)
	tracer.Signal(unix.SIGINT) // it lets go and ends
	// It ends as by the signal, whose exit code says nothing.
	_ = tracer.Wait(5 * time.Second)
	return strings.Split(g.Box.Sh("cat "+dir+"/*"), "\n")
}

var (
	sends       = regexp.MustCompile(`^(send|sendto|sendmsg|sendmmsg|write|writev)\(`)
	toNetfilter = regexp.MustCompile(`<NETLINK:\[NETFILTER`)
	toPort53    = regexp.MustCompile(`<UDP[^>]*:53\]`) // not the tunnel's, which sends when it wants to
	fromClients = regexp.MustCompile(`^(recvfrom|recvmsg|recvmmsg)\(.*= [1-9]\d*$`)
)

// An answer from the cache whose addresses are in the sets costs no transaction, no
// netlink call and no packet but itself.
func TestCachedAnswersCostNoCall(t *testing.T) {
	t.Parallel()
	g := newGate(t, netlab.Setup{})
	names := numbered(20, "listed.example")
	before := g.generation()
	for _, name := range names {
		g.resolve(name)
	}
	if g.generation() == before {
		t.Fatal("fresh names changed nothing in nftables, so the count shows nothing")
	}

	const rounds = 5
	ask := func() {
		var done sync.WaitGroup
		for _, name := range names {
			done.Go(func() {
				for range rounds {
					for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
						if _, err := g.lookup(g.Client, name, qtype, "udp"); err != nil {
							t.Error(err)
						}
					}
				}
			})
		}
		done.Wait()
	}
	g.Reset()
	before = g.generation()
	var counted callCount
	// The process looks at the table by itself, too, when something happens around it, and
	// the tracer may come late to a thread. That comes and goes; what an answer costs would be
	// there each time.
	asked := len(names) * rounds * 2
	// Those that wait together are received, and sent, by one call.
	few := func(calls int) bool { return 0 < calls && calls <= asked }
	fine := func() bool { return counted.netfilter == 0 && few(counted.sent) && few(counted.received) }
	for range 5 {
		if counted = countCalls(g.traced(ask)); fine() {
			break
		}
	}
	if !fine() {
		t.Errorf("%d cached answers took %+v, want no call to nftables, and at most one each", asked, counted)
	}
	if after := g.generation(); after != before {
		t.Errorf("%d transactions of nftables for cached answers, want none", after-before)
	}
	if queries := g.World.Queries(); len(queries) > 0 {
		t.Errorf("%d queries upstream for cached answers, the first: %s", len(queries), queries[0])
	}

	// The tracer does see netlink calls: those of a name that is new.
	if fresh := countCalls(g.traced(func() { g.resolve("fresh.listed.example") })); fresh.netfilter == 0 {
		t.Error("the netlink calls of a fresh name were not seen, so that none were before shows nothing")
	}
}

// callCount is what a process did on its sockets: sends to nftables, and calls that sent and
// received datagrams on port 53.
type callCount struct{ netfilter, sent, received int }

func countCalls(calls []string) (n callCount) {
	for _, call := range calls {
		switch {
		case sends.MatchString(call) && toNetfilter.MatchString(call):
			n.netfilter++
		case sends.MatchString(call) && toPort53.MatchString(call):
			n.sent++
		case fromClients.MatchString(call) && toPort53.MatchString(call):
			n.received++
		}
	}
	return n
}
