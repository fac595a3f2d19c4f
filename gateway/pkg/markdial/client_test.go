package markdial

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/test/netlab"
)

func TestMain(m *testing.M) { netlab.Main(m) }

var wanMark = gateway.Mark{Value: 0x7f000000, Mask: 0x7f000000}

// The resolver is a real one that can only be reached with the mark.
func TestLookupOverMarkedSockets(t *testing.T) {
	netlab.Need(t, "ip", "dnsmasq")
	run(t, "ip netns add fd")
	t.Cleanup(func() { _ = command("ip netns del fd").Run() })
	run(t, "ip link add v-fd type veth peer name eth0 netns fd")
	t.Cleanup(func() { _ = command("ip link del v-fd").Run() })
	for _, line := range []string{
		"ip addr add 192.0.21.1/32 dev v-fd", "ip addr add 2001:db8:21::1/128 dev v-fd nodad", "ip link set v-fd up",
		"ip -n fd addr add 192.0.21.2/24 dev eth0", "ip -n fd addr add 2001:db8:21::2/64 dev eth0 nodad",
		"ip -n fd link set eth0 up", "ip -n fd link set lo up",
		"ip route add 192.0.21.0/24 dev v-fd table 7327 src 192.0.21.1", "ip route add 2001:db8:21::/64 dev v-fd table 7327",
		"ip rule add fwmark 0x7f000000/0x7f000000 lookup 7327", "ip -6 rule add fwmark 0x7f000000/0x7f000000 lookup 7327",
	} {
		run(t, line)
	}
	t.Cleanup(func() {
		_ = command("ip rule del fwmark 0x7f000000/0x7f000000").Run()
		_ = command("ip -6 rule del fwmark 0x7f000000/0x7f000000").Run()
	})
	var hosts strings.Builder
	for i := range 150 {
		fmt.Fprintf(&hosts, "198.51.100.%d many.example\n2001:db8:99::%x many.example\n", i+1, i+1)
	}
	hosts.WriteString("192.0.2.9 both.example\n2001:db8::9 both.example\n192.0.2.4 four.example\n2001:db8::6 six.example\n")
	file := t.TempDir() + "/hosts"
	if err := os.WriteFile(file, []byte(hosts.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	server := command("ip netns exec fd dnsmasq -k -C /dev/null --no-resolv --no-hosts --user=root --pid-file= --port=53 --addn-hosts=" + file +
		" --cname=alias.example,both.example --address=/blocked.example/0.0.0.0 --address=/empty.example/192.0.2.1 --local=/example/")
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Process.Kill(); _ = server.Wait() })

	server4, server6 := netip.MustParseAddrPort("192.0.21.2:53"), netip.MustParseAddrPort("[2001:db8:21::2]:53")
	d := Client{Servers: []netip.AddrPort{server4}, Mark: wanMark, Timeout: 10 * time.Second}
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if _, err := d.LookupNetIP(t.Context(), "both.example"); err == nil {
			break
		} else if time.Now().After(end) {
			t.Fatalf("dnsmasq does not answer: %v", err)
		}
	}
	tests := []struct {
		host string
		want []string
		err  string
	}{
		{"both.example", []string{"2001:db8::9", "192.0.2.9"}, ""},
		{"BOTH.example.", []string{"2001:db8::9", "192.0.2.9"}, ""},
		{"alias.example", []string{"2001:db8::9", "192.0.2.9"}, ""},
		{"four.example", []string{"192.0.2.4"}, ""},
		{"six.example", []string{"2001:db8::6"}, ""},
		{"not.example", nil, "resolve not.example: no such name"},
		{"blocked.example", nil, "resolve blocked.example: no usable address"},
	}
	for _, server := range []netip.AddrPort{server4, server6} {
		d.Servers = []netip.AddrPort{server}
		for _, tt := range tests {
			got, err := d.LookupNetIP(t.Context(), tt.host)
			if s := words(got); !slices.Equal(s, tt.want) || errorText(err) != tt.err {
				t.Errorf("%s by %s: %v %v, want %v %s", tt.host, server, s, err, tt.want, tt.err)
			}
		}
		got, err := d.LookupNetIP(t.Context(), "many.example")
		if err != nil || len(got) != 300 {
			t.Errorf("cut answer by %s: %d addresses, want 300: %v", server, len(got), err)
		}
	}
	t.Run("without the mark", func(t *testing.T) {
		_, err := Client{Servers: []netip.AddrPort{server4}, Timeout: time.Second}.LookupNetIP(t.Context(), "both.example")
		if err == nil || !strings.Contains(err.Error(), "network is unreachable") {
			t.Errorf("got %v", err)
		}
	})
}

// run executes a command line and fails the test with its output.
func run(t *testing.T, line string) {
	t.Helper()
	if out, err := command(line).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", line, err, out)
	}
}

func command(line string) *exec.Cmd {
	words := strings.Fields(line)
	return exec.Command(words[0], words[1:]...)
}

func words(addrs []netip.Addr) []string {
	var out []string
	for _, a := range addrs {
		out = append(out, a.String())
	}
	return out
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// scripted is a resolver on loopback that answers what a test says.
func scripted(t *testing.T, answer func(q *dns.Msg) *dns.Msg) netip.AddrPort {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &dns.Server{PacketConn: pc, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		if m := answer(q); m != nil {
			w.WriteMsg(m)
		}
	})}
	go s.ActivateAndServe()
	t.Cleanup(func() { s.Shutdown() })
	return pc.LocalAddr().(*net.UDPAddr).AddrPort()
}

func reply(q *dns.Msg, rcode int, records ...string) *dns.Msg {
	m := new(dns.Msg).SetRcode(q, rcode)
	for _, r := range records {
		rr, err := dns.NewRR(r)
		if err != nil {
			panic(err)
		}
		if rr.Header().Rrtype == q.Question[0].Qtype || rr.Header().Rrtype == dns.TypeCNAME {
			m.Answer = append(m.Answer, rr)
		}
	}
	return m
}

func TestLookupWithBadServers(t *testing.T) {
	netlab.Need(t)
	good := func(q *dns.Msg) *dns.Msg { return reply(q, 0, "x.example. 60 A 192.0.2.1") }
	tests := []struct {
		name    string
		servers []func(*dns.Msg) *dns.Msg
		want    []string
		err     string
	}{
		{"second answers for a first that fails", []func(*dns.Msg) *dns.Msg{
			func(q *dns.Msg) *dns.Msg { return reply(q, dns.RcodeServerFailure) }, good}, []string{"192.0.2.1"}, ""},
		{"second answers for a silent first", []func(*dns.Msg) *dns.Msg{
			func(*dns.Msg) *dns.Msg { return nil }, good}, []string{"192.0.2.1"}, ""},
		{"old server without EDNS", []func(*dns.Msg) *dns.Msg{func(q *dns.Msg) *dns.Msg {
			if q.IsEdns0() != nil {
				return reply(q, dns.RcodeFormatError)
			}
			return good(q)
		}}, []string{"192.0.2.1"}, ""},
		{"another question", []func(*dns.Msg) *dns.Msg{func(q *dns.Msg) *dns.Msg {
			m := good(q)
			m.Question[0].Name = "y.example."
			return m
		}}, nil, "the reply does not match the query"},
		{"records of another name", []func(*dns.Msg) *dns.Msg{func(q *dns.Msg) *dns.Msg {
			return reply(q, 0, "y.example. 60 A 192.0.2.6")
		}}, nil, "no usable address"},
		{"chain in any order, and a loop", []func(*dns.Msg) *dns.Msg{func(q *dns.Msg) *dns.Msg {
			return reply(q, 0, "z.example. 60 A 192.0.2.3", "y.example. 60 CNAME z.example.", "x.example. 60 CNAME y.example.")
		}}, []string{"192.0.2.3"}, ""},
		{"loop", []func(*dns.Msg) *dns.Msg{func(q *dns.Msg) *dns.Msg {
			return reply(q, 0, "y.example. 60 CNAME x.example.", "x.example. 60 CNAME y.example.")
		}}, nil, "no usable address"},
		{"one family fails", []func(*dns.Msg) *dns.Msg{func(q *dns.Msg) *dns.Msg {
			if q.Question[0].Qtype == dns.TypeAAAA {
				return nil
			}
			return good(q)
		}}, []string{"192.0.2.1"}, ""},
		{"everything refused", []func(*dns.Msg) *dns.Msg{func(q *dns.Msg) *dns.Msg { return reply(q, dns.RcodeRefused) }}, nil, "REFUSED"},
		{"no server", nil, nil, "resolve x.example: no resolver to query"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := Client{Timeout: 2 * time.Second} // which a silent server takes, and another one has
			for _, s := range tt.servers {
				d.Servers = append(d.Servers, scripted(t, s))
			}
			got, err := d.LookupNetIP(t.Context(), "x.example")
			if !slices.Equal(words(got), tt.want) || (err == nil) != (tt.err == "") || !strings.Contains(errorText(err), tt.err) {
				t.Errorf("got %v %v, want %v %s", got, err, tt.want, tt.err)
			}
		})
	}
	t.Run("context ends", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		began := time.Now()
		silent := scripted(t, func(*dns.Msg) *dns.Msg { return nil })
		_, err := Client{Servers: []netip.AddrPort{silent}, Timeout: time.Minute}.LookupNetIP(ctx, "x.example")
		if err == nil || time.Since(began) > 30*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

// FuzzAnswerAddrs: whatever a resolver sends, only addresses of the family that was
// asked for come out.
func FuzzAnswerAddrs(f *testing.F) {
	q := new(dns.Msg).SetQuestion("x.example.", dns.TypeA)
	for _, rr := range []string{"x.example. 60 A 192.0.2.1", "x.example. 60 CNAME x.example.", "x.example. 60 TXT a"} {
		m := reply(q, 0)
		r, err := dns.NewRR(rr)
		if err != nil {
			f.Fatal(err)
		}
		m.Answer = append(m.Answer, r)
		b, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, uint16(dns.TypeA))
	}
	f.Fuzz(func(t *testing.T, b []byte, qtype uint16) {
		m := new(dns.Msg)
		if m.Unpack(b) != nil {
			return
		}
		for _, a := range answerAddrs(m, "x.example.", qtype) {
			if !usable(a) || (qtype == dns.TypeA) != a.Is4() && qtype == dns.TypeA {
				t.Errorf("%v for type %d", a, qtype)
			}
		}
	})
}
