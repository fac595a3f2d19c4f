//go:build linux

package netlab

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/test/netlab/dnsserver"
	"github.com/nameroute/nameroute/test/netlab/hosts"
	"github.com/nameroute/nameroute/test/netlab/wire"
)

// WorldServerName is in the certificates of the world's own resolvers.
const WorldServerName = "dns.world.example"

// authoritative is where Debian's resolvers ask for what they do not know.
func authoritative() Pair { return pair("30.0.0.53", "2a0f::53") }

// NameServer is one place where the world answers.
type NameServer struct {
	Pair
	silent atomic.Bool
}

// Silence makes the server take queries (they are logged) and not answer, or
// answer again.
func (s *NameServer) Silence(on bool) { s.silent.Store(on) }

// Server returns the nameserver at an address of the plan (World, World2) or of a
// tunnel's far end.
func (l *Lab) Server(at netip.Addr) *NameServer {
	l.t.Helper()
	for _, s := range l.servers {
		if s.Has(at) {
			return s
		}
	}
	l.t.Fatalf("netlab: no server of the world at %s", at)
	return nil
}

// serveWorld lets the world answer at two more addresses of a namespace.
func (l *Lab) serveWorld(n *Namespace, at Pair, ca *hosts.Authority) {
	l.t.Helper()
	l.servers = append(l.servers, l.World.serve(n, at, ca))
}

// serve answers for the world at both addresses over UDP and TCP port 53, and DoT on
// port 853 unless ca is nil.
func (w *World) serve(n *Namespace, at Pair, ca *hosts.Authority) *NameServer {
	w.t.Helper()
	s := &NameServer{Pair: at}
	for _, addr := range at.All() {
		pc, err := n.ListenPacket("udp", netip.AddrPortFrom(addr, 53).String())
		if err != nil {
			w.t.Fatalf("netlab: world at %s: %v", addr, err)
		}
		w.run(&dns.Server{PacketConn: pc}, s, addr, "udp")
		w.run(&dns.Server{Listener: w.listen(n, addr, 53)}, s, addr, "tcp")
		if ca != nil {
			l := tls.NewListener(w.listen(n, addr, 853), ca.TLS(WorldServerName, at.All()...))
			w.run(&dns.Server{Listener: l}, s, addr, "tls")
		}
	}
	return s
}

func (w *World) listen(n *Namespace, addr netip.Addr, port uint16) net.Listener {
	w.t.Helper()
	l, err := n.Listen("tcp", netip.AddrPortFrom(addr, port).String())
	if err != nil {
		w.t.Fatalf("netlab: world at %s: %v", addr, err)
	}
	return l
}

// run answers until the end of the test, which waits until no answer is under way: one
// that its delay holds back is dropped.
func (w *World) run(server *dns.Server, s *NameServer, at netip.Addr, proto string) {
	closing, end := context.WithCancel(context.Background())
	server.Handler = dns.HandlerFunc(func(rw dns.ResponseWriter, q *dns.Msg) { w.answer(closing, rw, q, s, at, proto) })
	dnsserver.Start(w.t, server)
	w.t.Cleanup(end) // before the server's own end
}

func (w *World) answer(closing context.Context, rw dns.ResponseWriter, q *dns.Msg, s *NameServer, at netip.Addr, proto string) {
	if len(q.Question) != 1 {
		return
	}
	asked := q.Question[0]
	if err := w.record(asked, rw.RemoteAddr(), at, proto); err != nil {
		w.t.Logf("netlab: world at %s: %v", at, err)
		return
	}
	behavior := w.behavior(asked.Name)
	if behavior.Silent || s.silent.Load() {
		return
	}
	select {
	case <-closing.Done():
		return
	case <-time.After(behavior.Delay):
	}
	reply := w.reply(q, behavior, proto)
	if err := rw.WriteMsg(reply); err != nil && proto == "udp" {
		w.t.Logf("netlab: world at %s: answer to %s: %v", at, rw.RemoteAddr(), err)
	}
}

// record logs a query.
func (w *World) record(asked dns.Question, source net.Addr, at netip.Addr, proto string) error {
	from, err := netip.ParseAddrPort(source.String())
	if err != nil {
		return err
	}
	from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
	q := Query{When: time.Now(), Name: wire.Canonical(asked.Name), Type: asked.Qtype,
		Proto: proto, From: from, Server: at, Egress: w.egress(from.Addr())}
	if ours(q.Name) {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.log = append(w.log, q)
	return nil
}

func (w *World) reply(q *dns.Msg, behavior Behavior, proto string) *dns.Msg {
	reply := new(dns.Msg).SetReply(q)
	reply.RecursionAvailable = true
	size := dns.MinMsgSize
	if opt := q.IsEdns0(); opt != nil {
		reply.SetEdns0(1232, opt.Do())
		size = max(size, int(opt.UDPSize()))
	}
	if behavior.Truncated && proto == "udp" {
		reply.Truncated = true
		return reply
	}
	answer, soa := w.resolve(q.Question[0].Name, q.Question[0].Qtype)
	reply.Rcode = behavior.Rcode
	if behavior.Rcode == dns.RcodeSuccess {
		reply.Answer = answer
	}
	if len(reply.Answer) == 0 && (behavior.Rcode == dns.RcodeSuccess || behavior.Rcode == dns.RcodeNameError) {
		reply.Ns = []dns.RR{soa}
	}
	if behavior.Forge != nil {
		behavior.Forge(reply)
	}
	if proto == "udp" {
		reply.Truncate(min(size, 1232))
	}
	return reply
}
