package upstream

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"

	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/plugin/upstream/wire"
	"github.com/nameroute/nameroute/test/netlab"
)

// located is an authority of example.org whose answers depend on the client's subnet, and
// which remembers the last one that it was told.
type located struct {
	*server
	mu   sync.Mutex
	told string
}

func (l *located) heard() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.told
}

// locate answers with a scope of /16 or /32.
func locate(t *testing.T) *located {
	l := &located{}
	l.server = serve(t, func(w dns.ResponseWriter, r *dns.Msg) {
		m := new(dns.Msg).SetReply(r)
		m.Authoritative = true
		if q := r.Question[0]; q.Qtype == dns.TypeA {
			m.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: q.Name, Rrtype: q.Qtype, Class: q.Qclass, Ttl: 60}, A: net.IPv4(192, 0, 2, 1)}}
		} else if q.Qtype == dns.TypeAAAA {
			m.Answer = []dns.RR{&dns.AAAA{Hdr: dns.RR_Header{Name: q.Name, Rrtype: q.Qtype, Class: q.Qclass, Ttl: 60}, AAAA: net.ParseIP("2001:db8::1")}}
		}
		told := ""
		if opt := r.IsEdns0(); opt != nil {
			m.SetEdns0(1232, opt.Do())
			for _, o := range opt.Option {
				if s, ok := o.(*dns.EDNS0_SUBNET); ok {
					told = fmt.Sprintf("%s/%d", s.Address, s.SourceNetmask)
					reply := *s
					reply.SourceScope = 16 * uint8(s.Family)
					m.IsEdns0().Option = append(m.IsEdns0().Option, &reply)
				}
			}
		}
		l.mu.Lock()
		if q := r.Question[0]; q.Qtype == dns.TypeA || q.Qtype == dns.TypeAAAA {
			l.told = told
		}
		l.mu.Unlock()
		w.WriteMsg(m)
	})
	return l
}

// from returns a query of a client that says where it is; "" says nothing.
func from(name string, qtype uint16, subnet string) *dns.Msg {
	m := ask(name, qtype)
	m.SetEdns0(1232, false)
	if p, err := netip.ParsePrefix(subnet); err == nil {
		family := uint16(1)
		if p.Addr().Is6() {
			family = 2
		}
		m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: family, SourceNetmask: uint8(p.Bits()), Address: p.Addr().AsSlice()}}
	}
	return m
}

// scope returns the subnet and scope that an answer says it is for.
func scope(m *dns.Msg) string {
	if opt := m.IsEdns0(); opt != nil {
		for _, o := range opt.Option {
			if s, ok := o.(*dns.EDNS0_SUBNET); ok {
				return fmt.Sprintf("%s/%d for /%d", s.Address, s.SourceNetmask, s.SourceScope)
			}
		}
	}
	return ""
}

// What clients say of where they are stays here, unless the block says otherwise; what it says
// itself reaches the authority, through a resolver that is another program.
func TestSubnets(t *testing.T) {
	netlab.Need(t, "unbound")
	for _, through := range []string{"the authority itself", "unbound"} {
		authority := locate(t)
		at := authority.String()
		if through == "unbound" {
			at = forwardingSubnets(t, authority.addr)
		}
		for i, c := range []struct {
			ecs    []string
			client string
			qtype  uint16
			told   string
			scope  string
		}{
			{ecs: []string{"strip"}, client: "203.0.113.0/24", qtype: dns.TypeA},
			{client: "2001:db8:1::/48", qtype: dns.TypeAAAA},
			{ecs: []string{"198.51.100.7/24", "2001:db8:7::/48"}, client: "203.0.113.0/24", qtype: dns.TypeA, told: "198.51.100.0/24"},
			{ecs: []string{"198.51.100.0/24", "2001:db8:7::/48"}, qtype: dns.TypeAAAA, told: "2001:db8:7::/48"},
			{ecs: []string{"2001:db8:7::/48"}, qtype: dns.TypeA, told: "2001:db8:7::/48"},
			{ecs: []string{"keep"}, qtype: dns.TypeA},
			{ecs: []string{"keep"}, client: "203.0.113.0/24", qtype: dns.TypeA, told: "203.0.113.0/24", scope: "203.0.113.0/24 for /16"},
			{ecs: []string{"keep"}, client: "2001:db8:1::/48", qtype: dns.TypeAAAA, told: "2001:db8:1::/48", scope: "2001:db8:1::/48 for /32"},
		} {
			l := forwarder(t, func(o *options) {
				var err error
				if c.ecs != nil {
					o.subnets, err = wire.ParseSubnets(c.ecs)
				}
				if err != nil {
					t.Fatal(err)
				}
			}, at)
			m, _, err := l.client(context.Background(), from(fmt.Sprintf("n%d.example.org.", i), c.qtype, c.client))
			if err != nil || addrOf(m) == "" {
				t.Fatalf("%s, %+v: %v, %v", through, c, m, err)
			}
			if got := authority.heard(); got != c.told || scope(m) != c.scope {
				t.Errorf("%s, %+v: the authority was told %q, the client %q", through, c, got, scope(m))
			}
		}
	}
}

// Clients of different subnets that ask at the same time do not share an answer, and one for
// another subnet is given to none.
func TestSubnetsAreToldApart(t *testing.T) {
	all, release := make(chan string, 4), make(chan struct{})
	s := serve(t, func(w dns.ResponseWriter, r *dns.Msg) {
		all <- scope(r)
		<-release
		w.WriteMsg(replyTo(r, "192.0.2.1"))
	})
	l := forwarder(t, func(o *options) { o.subnets.Keep = true }, s.String())
	var clients sync.WaitGroup
	for _, subnet := range []string{"203.0.113.0/24", "198.51.100.0/24"} {
		clients.Go(func() { l.send(t, from("a.example.org.", dns.TypeA, subnet)) })
	}
	if a, b := <-all, <-all; a == b {
		t.Errorf("both were asked for %s", a)
	}
	close(release)
	clients.Wait()

	other := serve(t, func(w dns.ResponseWriter, r *dns.Msg) {
		m := replyTo(r, "192.0.2.2")
		m.IsEdns0().Option = from(".", dns.TypeA, "192.0.2.0/24").IsEdns0().Option
		w.WriteMsg(m)
	})
	l = forwarder(t, func(o *options) { o.subnets.Keep = true }, other.String(), serve(t, answerWith("192.0.2.3")).String())
	if m := l.send(t, from("b.example.org.", dns.TypeA, "203.0.113.0/24")); addrOf(m) != "192.0.2.3" {
		t.Errorf("an answer for another subnet was taken: %v", m)
	}
}

// forwardingSubnets starts an unbound that tells an authority what it is told of subnets.
func forwardingSubnets(t *testing.T, authority netip.AddrPort) string {
	t.Helper()
	at := closedPort(t)
	port := netip.MustParseAddrPort(at).Port()
	conf := fmt.Sprintf(`server:
	interface: 127.0.0.1@%d
	username: ""
	chroot: ""
	pidfile: ""
	use-syslog: no
	do-not-query-localhost: no
	module-config: "subnetcache iterator"
	client-subnet-always-forward: yes
	send-client-subnet: 192.0.2.253
	max-client-subnet-ipv4: 32
	max-client-subnet-ipv6: 64
	qname-minimisation: no
stub-zone:
	name: example.org
	stub-addr: 127.0.0.1@%d
remote-control:
	control-enable: no
`, port, authority.Port())
	background(t, "unbound", "-d", "-c", write(t, t.TempDir(), "unbound.conf", conf))
	within(t, 30e9, "unbound answers", func() bool {
		_, err := dns.Exchange(ask("ready.example.org.", dns.TypeA), at)
		return err == nil
	})
	return at
}
