package firewall_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nameroute/nameroute/gateway/firewall"
	"github.com/nameroute/nameroute/gateway/learned"
	"golang.org/x/sys/unix"
)

// otherHooks are the hooks in which another program writes marks, and otherPriorities the
// priorities of its chains: iptables' raw, mangle and filter, and later ones.
var (
	otherHooks      = []string{"filter prerouting", "filter forward", "filter postrouting", "filter input", "filter output", "route output"}
	otherPriorities = []int{-300, -199, -150, 0, 300, 2147483647}
)

// otherChain names a chain of another program.
func otherChain(hook string, priority int) string {
	return strings.ReplaceAll(fmt.Sprintf("%s %d", hook, priority), " ", "_")
}

// addOther adds another program's table with a chain for each hook and priority. Those of
// the same priority run in the reverse order of registration.
func addOther(t *testing.T, table string) {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "table inet %s {\n", table)
	for _, hook := range otherHooks {
		typ, at, _ := strings.Cut(hook, " ")
		for _, p := range otherPriorities {
			fmt.Fprintf(&b, "chain %s { type %s hook %s priority %d; }\n", strings.ReplaceAll(otherChain(hook, p), "-", "m"), typ, at, p)
		}
	}
	sh(t, "nft -f - <<'END'\n%s}\nEND", b.String())
}

// fillOther replaces the rules of all chains of one priority.
func fillOther(t *testing.T, table string, priority int, rule string) {
	t.Helper()
	var b strings.Builder
	for _, hook := range otherHooks {
		chain := strings.ReplaceAll(otherChain(hook, priority), "-", "m")
		fmt.Fprintf(&b, "flush chain inet %s %s\n", table, chain)
		if rule != "" {
			fmt.Fprintf(&b, "add rule inet %s %s %s\n", table, chain, rule)
		}
	}
	sh(t, "nft -f - <<'END'\n%sEND", b.String())
}

// connectMarked opens a flow of the box's own from a socket that chose a route.
func connectMarked(limit time.Duration, network, to string, port, mark int) (flow, error) {
	d := net.Dialer{Timeout: limit, Control: func(_, _ string, c syscall.RawConn) (err error) {
		if e := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK, mark) }); e != nil {
			return e
		}
		return err
	}}
	c, err := d.DialContext(context.Background(), network, net.JoinHostPort(to, fmt.Sprint(port)))
	if err != nil {
		return flow{}, err
	}
	return newFlow(c), nil
}

// asked opens a flow, asks three times and returns the answers, each once.
func asked(limit time.Duration, f flow, err error) string {
	if err != nil {
		return ""
	}
	defer f.Close()
	answers := f.askWithin(limit)
	for range 2 {
		if again := f.askWithin(limit); again != answers {
			answers += ", then " + again
		}
	}
	return answers
}

// overwriting is a lab in which the listed addresses are learned and the ISP counts the
// packets to them, with a flow to each that is older than the listing.
type overwriting struct {
	*testing.T
	older map[string]flow // by what it must go on to be answered
}

func newOverwriting(t *testing.T, k *learned.Store) *overwriting {
	o := &overwriting{t, map[string]flow{}}
	for _, f := range families {
		for _, ns := range []string{"isp", "vpn"} {
			serve(t, ns, addr(f.listed), 9)
		}
		for _, ns := range []string{"client", ""} {
			for _, network := range []string{"udp", "tcp"} {
				c, err := connect(t, ns, network, "", f.listed)
				if err != nil || !strings.HasPrefix(c.ask(), "isp ") {
					t.Fatalf("before the listing: %v", err)
				}
				o.older[f.name+network+ns] = c
			}
		}
	}
	for _, f := range families {
		learn(t, k, vpn, time.Hour, f.listed)
	}
	return o
}

// leaks counts the packets of new flows to listed addresses at the ISP.
func (o *overwriting) leaks() string {
	o.Helper()
	return sh(o.T, "ip netns exec isp nft list table inet seen | grep packets | grep -v 'packets 0 ' || :")
}

func (o *overwriting) watch() {
	o.Helper()
	ports := ""
	for _, c := range o.older {
		ports += fmt.Sprintf("%d,", portOf(c.LocalAddr()))
	}
	sh(o.T, `ip netns exec isp nft -f - <<'END'
table inet seen { chain c { type filter hook prerouting priority -300
	meta l4proto { tcp, udp } th sport { %s } accept
	meta l4proto { tcp, udp } th dport 9 accept
	ip daddr 8.8.8.8 counter
	ip6 daddr 2606:4700::1 counter
	ip saddr 10.2.0.2 counter
	ip6 saddr fd00:a::2 counter
}
}
END`, ports)
}

func portOf(a net.Addr) int {
	switch a := a.(type) {
	case *net.TCPAddr:
		return a.Port
	case *net.UDPAddr:
		return a.Port
	}
	return 0
}

// check opens new flows to all addresses. With closed, listed ones may be blocked instead.
func (o *overwriting) check(name string, closed bool) {
	o.Helper()
	var asking sync.WaitGroup
	limit := patience
	if closed {
		limit = moment
	}
	ask := func(open func() (flow, error)) string {
		f, err := open()
		return asked(limit, f, err)
	}
	want := func(what, got, want string) {
		if got != want && !(closed && strings.HasPrefix(want, "vpn ") && got != "" && strings.Trim(got, ", then") == "") && !(closed && got == "") {
			o.Errorf("%s: %s: answered by %q, want %q", name, what, got, want)
		}
	}
	for _, f := range families {
		for _, network := range []string{"udp", "tcp"} {
			for _, ns := range []string{"client", ""} {
				asking.Go(func() {
					want(network+" from "+ns+" to "+f.listed, ask(func() (flow, error) { return connectWithin(o.T, limit, ns, network, "", f.listed) }), "vpn "+f.tunnel)
				})
				if !closed {
					unlisted := map[string]string{"client": f.client, "": f.wan}[ns]
					asking.Go(func() {
						want(network+" from "+ns+" to "+f.other, ask(func() (flow, error) { return connectWithin(o.T, limit, ns, network, "", f.other) }), "isp "+unlisted)
					})
				}
			}
			asking.Go(func() {
				want(network+" of a socket for vpn", ask(func() (flow, error) { return connectMarked(limit, network, f.other, 7, 0x01000000) }), "vpn "+f.tunnel)
			})
			asking.Go(func() {
				want(network+" of a socket for wan", ask(func() (flow, error) { return connectMarked(limit, network, f.listed, 9, 0x7f000000) }), "isp "+f.wan)
			})
		}
	}
	asking.Wait()
	for who, c := range o.older {
		if got := c.ask(); !strings.HasPrefix(got, "isp ") {
			o.Errorf("%s: %s, older than the listing, is answered by %q", name, who, got)
		}
	}
	if out := o.leaks(); out != "" {
		o.Errorf("%s: the ISP saw\n%s", name, out)
		sh(o.T, "ip netns exec isp nft delete table inet seen")
		o.watch()
	}
}

// TestPacketsMarksOverwritten: guarantee 4, kill switch. Another program writes whole
// marks and ct marks, in any hook, earlier and later than ours, loaded before and after.
// Listed flows keep their route, or end; the WAN's and older flows go on.
func TestPacketsMarksOverwritten(t *testing.T) {
	lab(t)
	addOther(t, "before")
	k := open(t, learned.Options{})
	s := labSpec()
	apply(t, k, s)
	addOther(t, "after")
	o := newOverwriting(t, k)
	o.watch()
	o.check("alone", false)
	for _, rule := range []string{"meta mark set 0x1", "meta mark set 0xffffffff", "meta mark set 0x1 ct mark set meta mark",
		"meta mark set 0xffffffff ct mark set meta mark", "ct mark set 0", "meta mark set ct mark"} {
		for _, priority := range otherPriorities {
			for _, table := range []string{"before", "after"} {
				fillOther(t, table, priority, rule)
				last := priority == 2147483647 && table == "before" // runs after our last chain
				o.check(fmt.Sprintf("%s, at %d, loaded %s us", rule, priority, table), last)
				fillOther(t, table, priority, "")
			}
		}
	}
	counts, err := firewall.ReadCounts()
	if err != nil || counts.Overwritten["vpn"].Packets == 0 {
		t.Errorf("counted %+v, %v", counts, err)
	}
}
