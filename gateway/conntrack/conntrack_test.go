package conntrack

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/test/netlab"
	"github.com/nameroute/nameroute/test/netlab/shell"
	"github.com/vishvananda/netlink"
)

func TestMain(m *testing.M) { netlab.Main(m) }

var run = shell.Run

var route = gateway.DefaultMask.Mark(1)

// none is the mark of flows without a route.
var none = gateway.Mark{Mask: uint32(gateway.DefaultMask)}

// fill makes flows with the route's mark, with only a bit of another program, and translated.
func fill(t *testing.T) {
	t.Helper()
	netlab.Need(t, "conntrack")
	run(t, `conntrack -F 2>/dev/null
i() { conntrack -I -t 300 "$@" >/dev/null 2>&1; }
i -p udp -s 192.0.2.2 -d 203.0.113.1 --sport 5000 --dport 9 -m 0x01000007
i -p udp -s 192.0.2.2 -d 203.0.113.1 --sport 5001 --dport 9 -m 0x80000007
i -p udp -s 192.0.2.2 -d 203.0.113.2 --sport 5002 --dport 53 -r 192.0.2.1 -q 192.0.2.2 --reply-port-src 53 --reply-port-dst 5002
i -p tcp -s 2001:db8:1::2 -d 2001:db8:2::1 --sport 5000 --dport 80 --state ESTABLISHED -m 0x01000000
i -p tcp -s 2001:db8:1::2 -d 2001:db8:2::1 --sport 5001 --dport 80 --state ESTABLISHED
i -p icmp -s 192.0.2.2 -d 203.0.113.1 --icmp-type 8 --icmp-code 0 --icmp-id 7`)
}

func walk(t *testing.T, of gateway.Mark) []string {
	t.Helper()
	var all []string
	if err := Walk(of, func(f Flow) { all = append(all, fmt.Sprintf("%#x %s %s %s %d", f.Mark, f.Src, f.Dst, f.To, f.Port)) }); err != nil {
		t.Fatal(err)
	}
	slices.Sort(all)
	return all
}

func TestWalk(t *testing.T) {
	fill(t)
	marked := []string{"0x1000000 2001:db8:1::2 2001:db8:2::1 2001:db8:2::1 80", "0x1000007 192.0.2.2 203.0.113.1 203.0.113.1 9"}
	others := []string{"0x0 192.0.2.2 203.0.113.1 203.0.113.1 0", "0x0 192.0.2.2 203.0.113.2 192.0.2.1 53",
		"0x0 2001:db8:1::2 2001:db8:2::1 2001:db8:2::1 80", "0x80000007 192.0.2.2 203.0.113.1 203.0.113.1 9"}
	all := slices.Concat(marked, others)
	slices.Sort(all)
	for mark, want := range map[gateway.Mark][]string{route: marked, none: others, {}: all} {
		if got := walk(t, mark); !slices.Equal(got, want) {
			t.Errorf("with mark %s:\n%s\nwant\n%s", mark, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

func TestDelete(t *testing.T) {
	fill(t)
	to := netip.MustParseAddr("203.0.113.1")
	n, err := Delete(none, func(f Flow) bool { return f.Dst == to })
	if err != nil || len(n) != 2 {
		t.Errorf("deleted %v, %v; want the UDP flow and the ping", n, err)
	}
	if left := walk(t, gateway.Mark{}); len(left) != 4 {
		t.Errorf("left: %s", left)
	}
	if n, err = Delete(route, func(Flow) bool { return true }); err != nil || len(n) != 2 {
		t.Errorf("deleted %v, %v; want both families' flow of the route", n, err)
	}
}

// TestDeleteAnother: an entry that was recreated since it was read is another flow, as its
// ID tells. That is made of the addresses and of where the entry lies in memory
// (nf_ct_get_id): now and then the new one lies where the old one lay.
func TestDeleteAnother(t *testing.T) {
	id := func() string {
		return run(t, `conntrack -L -p udp --sport 5000 -o id 2>/dev/null | grep -o 'id=[0-9]*'`)
	}
	for i := range 30 {
		fill(t)
		var before, after string
		n, err := Delete(route, func(f Flow) bool {
			if f.Dst.Is4() {
				before = id()
				run(t, `conntrack -D -p udp --sport 5000 >/dev/null 2>&1`)
				if i%2 == 1 { // usually takes that place
					run(t, `conntrack -I -t 300 -p udp -s 192.0.2.2 -d 203.0.113.1 --sport 5009 --dport 9 >/dev/null 2>&1`)
				}
				run(t, `conntrack -I -t 300 -p udp -s 192.0.2.2 -d 203.0.113.1 --sport 5000 --dport 9 -m 0x01000007 >/dev/null 2>&1`)
				after = id()
			}
			return f.Dst.Is4()
		})
		if before == after {
			continue
		}
		if left := walk(t, route); err != nil || len(n) != 0 || len(left) != 2 {
			t.Errorf("deleted %v, %v, left %s", n, err, left)
		}
		return
	}
	t.Error("a recreated entry had the place of the old one, 30 times")
}

// An interrupted dump is repeated, but not without end.
func TestRepeat(t *testing.T) {
	interrupted, other := fmt.Errorf("dump: %w", netlink.ErrDumpInterrupted), errors.New("other")
	for name, c := range map[string]struct {
		errs  []error // of the dumps; the last one stays
		dumps int
		want  error
	}{
		"complete":        {[]error{nil}, 1, nil},
		"second complete": {[]error{interrupted, nil}, 2, nil},
		"another error":   {[]error{interrupted, other}, 2, other},
		"never complete":  {[]error{interrupted}, dumpTries, nil},
	} {
		dumps := 0
		err := repeat(func() error { dumps++; return c.errs[min(dumps, len(c.errs))-1] })
		if dumps != c.dumps || !errors.Is(err, c.want) {
			t.Errorf("%s: %v after %d dumps, want %v after %d", name, err, dumps, c.want, c.dumps)
		}
	}
}

// TestWalkMany holds the cost of a dump down: it is paid while a router forwards.
func TestWalkMany(t *testing.T) {
	netlab.Need(t, "conntrack")
	run(t, `conntrack -F 2>/dev/null; for i in $(seq 5000); do echo "-I -t 300 -p udp -s 192.0.2.2 -d 203.0.113.1 --sport $((i+1000)) --dport 9"; done > /tmp/flows; conntrack -R /tmp/flows >/dev/null; rm /tmp/flows`)
	began, n := time.Now(), 0
	if err := Walk(none, func(Flow) { n++ }); err != nil || n < 5000 {
		t.Fatalf("%d flows, %v", n, err)
	}
	took := time.Since(began)
	t.Logf("%d flows in %v, %v each", n, took.Round(time.Microsecond), took/time.Duration(n))
	began = time.Now()
	if err := Walk(route, func(f Flow) { t.Errorf("%+v", f) }); err != nil {
		t.Fatal(err)
	}
	t.Logf("none of them in %v", time.Since(began).Round(time.Microsecond))
}

// FuzzParse: whatever the kernel sends, parse reads no more than there is.
func FuzzParse(f *testing.F) {
	f.Add([]byte{2, 0, 0, 0, 8, 0, 8, 0, 1, 0, 0, 0})
	f.Fuzz(func(t *testing.T, msg []byte) {
		flow, name, ok := parse(msg)
		if len(name) > len(msg) || ok && !(flow.Src.IsValid() && flow.Dst.IsValid() && flow.To.IsValid()) {
			t.Errorf("%+v %x %v", flow, name, ok)
		}
	})
}

// TestLabels reads the labels that nft rules write.
func TestLabels(t *testing.T) {
	netlab.Need(t, "conntrack", "nft")
	t.Cleanup(func() { run(t, "nft delete table inet labels; conntrack -F 2>/dev/null") })
	run(t, `ip link set lo up; conntrack -F 2>/dev/null; nft -f - <<'END'
table inet labels { chain out { type filter hook output priority 0
	udp dport 9001 ct label set 0
	udp dport 9002 ct label set 81 ct label set 0 ct mark set 7
	udp dport 9003 ct label set 127
	udp dport 9004 ct mark set 0x01000000
}
chain zone { type filter hook output priority -300
	udp dport 9005 ct zone set 5
}
chain zoned { type filter hook output priority 1
	udp dport 9005 ct label set 3
}
}
END`)
	for _, to := range []string{"127.0.0.1", "::1"} {
		for port := 9001; port <= 9005; port++ {
			c, err := net.Dial("udp", net.JoinHostPort(to, fmt.Sprint(port)))
			if err != nil {
				t.Fatal(err)
			}
			_, _ = c.Write([]byte("x")) // the second one of a pair is refused
			_ = c.Close()
		}
	}
	want := map[uint16]string{9001: "0", 9002: "0 81 routed", 9003: "127 routed", 9004: "", 9005: ""}
	seen := 0
	if err := Walk(gateway.Mark{}, func(f Flow) {
		wanted, ok := want[f.Port]
		if !ok {
			return
		}
		seen++
		var got []string
		for bit := -1; bit < 200; bit++ {
			if f.Labelled(bit) {
				got = append(got, fmt.Sprint(bit))
			}
		}
		if f.Routed() {
			got = append(got, "routed")
		}
		if s := strings.Join(got, " "); s != wanted {
			t.Errorf("%s, port %d: labels %q, want %q", f.Dst, f.Port, s, wanted)
		}
	}); err != nil {
		t.Fatal(err)
	}
	if seen != 2*len(want) {
		t.Errorf("%d flows", seen)
	}
}
