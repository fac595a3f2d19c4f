package test

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// mode is a way to ask.
type mode struct {
	name string
	tcp  bool
	size uint16 // of EDNS; 0 without
	set  func(*dns.Msg)
}

var modes = []mode{
	{name: "no EDNS"},
	{name: "EDNS 512", size: 512},
	{name: "EDNS 1232", size: 1232},
	{name: "EDNS 4096", size: 4096},
	{name: "EDNS 65535", size: 65535},
	{name: "DO", size: 1232, set: func(m *dns.Msg) { m.IsEdns0().SetDo() }},
	{name: "CD and DO", size: 1232, set: func(m *dns.Msg) { m.CheckingDisabled = true; m.IsEdns0().SetDo() }},
	{name: "AD", set: func(m *dns.Msg) { m.AuthenticatedData = true }},
	{name: "TCP", tcp: true},
	{name: "TCP, EDNS and DO", tcp: true, size: 4096, set: func(m *dns.Msg) { m.IsEdns0().SetDo() }},
	{name: "case", set: func(m *dns.Msg) { m.Question[0].Name = mixCase(m.Question[0].Name) }},
	{name: "options", size: 1232, set: func(m *dns.Msg) {
		m.IsEdns0().Option = []dns.EDNS0{
			&dns.EDNS0_NSID{Code: dns.EDNS0NSID}, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0102030405060708"},
			&dns.EDNS0_LOCAL{Code: 65001, Data: []byte("x")},
		}
	}},
}

func mixCase(name string) string {
	b := []byte(name)
	for i := range b {
		if i%2 == 0 && b[i] >= 'a' && b[i] <= 'z' {
			b[i] -= 'a' - 'A'
		}
	}
	return string(b)
}

// subject is a resolver that is compared.
type subject struct {
	name string
	at   netip.AddrPort
	g    *gate
	up   *scripted

	prefix   string // of zones that no other subject has asked for
	patience time.Duration

	faults map[string][]string // by rule
	tried  map[string]int
}

func (s *subject) fault(rule, format string, args ...any) {
	s.faults[rule] = append(s.faults[rule], fmt.Sprintf(format, args...))
}

// exchange sends a packed query and returns the answer as it came.
func (s *subject) exchange(tcp bool, query []byte) ([]byte, error) {
	network := map[bool]string{false: "udp", true: "tcp"}[tcp]
	conn, err := s.g.Client.DialWith(net.Dialer{Timeout: 5 * time.Second}, network, s.at.String())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(s.patience))
	c := &dns.Conn{Conn: conn, UDPSize: dns.MaxMsgSize}
	if _, err := c.Write(query); err != nil {
		return nil, err
	}
	raw := make([]byte, dns.MaxMsgSize)
	n, err := c.Read(raw)
	return raw[:n], err
}

func (s *subject) ask(tcp bool, q *dns.Msg) (*dns.Msg, int, error) {
	packed, err := q.Pack()
	if err != nil {
		return nil, 0, err
	}
	raw, err := s.exchange(tcp, packed)
	if err != nil {
		return nil, 0, err
	}
	m := new(dns.Msg)
	return m, len(raw), m.Unpack(raw)
}

// compare asks for every pair in one mode, cold and warm, and holds the answers against
// the upstream's.
func (s *subject) compare(w mode, zone string) {
	silent := 0
	for _, p := range pairs {
		if silent > 3 { // some peers answer no query of a mode
			return
		}
		for _, warm := range []string{"cold", "warm"} {
			q := new(dns.Msg).SetQuestion(p.Name+"."+zone, p.Qtype)
			if w.size > 0 {
				q.SetEdns0(w.size, false)
			}
			if w.set != nil {
				w.set(q)
			}
			s.tried["answers"]++
			where := fmt.Sprintf("%.20s %s, %s, %s, %s", p.Name, dns.Type(p.Qtype), w.name, warm, zone)
			m, size, err := s.ask(w.tcp, q)
			if err == nil && m.Truncated {
				s.checkTruncated(q, size, where)
				m, _, err = s.ask(true, q)
			} else if err == nil && !w.tcp {
				s.checkSize(q, size, where)
			}
			if err != nil {
				silent++
				s.fault("answers", "%s: %v", where, err)
				continue
			}
			s.checkAnswer(q, m, where)
		}
	}
}

// limit is how large an answer over UDP may be, with RFC 9715 section 3.1 in mind.
func limit(q *dns.Msg) int {
	if o := q.IsEdns0(); o != nil {
		return max(dns.MinMsgSize, min(int(o.UDPSize()), 1232))
	}
	return dns.MinMsgSize
}

func (s *subject) checkSize(q *dns.Msg, size int, where string) {
	if size > limit(q) {
		s.fault("UDP size", "%s: %d bytes, at most %d", where, size, limit(q))
	}
}

// checkTruncated finds TC where the answer itself fits (RFC 2181 section 9).
func (s *subject) checkTruncated(q *dns.Msg, size int, where string) {
	s.checkSize(q, size, where)
	m := s.up.reply(q)
	m.Ns = nil
	if m.Extra = nil; q.IsEdns0() != nil {
		m.SetEdns0(1232, false)
	}
	m.Compress = true
	if m.Len() <= limit(q) {
		s.fault("TC only if needed", "%s: TC, while the answer takes %d of %d bytes", where, m.Len(), limit(q))
	}
}

func (s *subject) checkAnswer(q, m *dns.Msg, where string) {
	want := s.up.reply(q)
	switch {
	case m.Rcode != want.Rcode:
		s.fault("answers", "%s: %s, want %s", where, dns.RcodeToString[m.Rcode], dns.RcodeToString[want.Rcode])
	case !slices.Equal(canonical(m.Answer), canonical(want.Answer)):
		s.fault("answers", "%s: %v, want %v", where, canonical(m.Answer), canonical(want.Answer))
	case !slices.Equal(m.Question, q.Question):
		s.fault("header", "%s: question %v", where, m.Question)
	case m.Id != q.Id || !m.Response || m.Opcode != q.Opcode || !m.RecursionAvailable || m.RecursionDesired != q.RecursionDesired ||
		m.CheckingDisabled != q.CheckingDisabled || m.Zero || m.AuthenticatedData && !want.AuthenticatedData:
		s.fault("header", "%s: %v", where, m.MsgHdr)
	case (m.IsEdns0() != nil) != (q.IsEdns0() != nil):
		s.fault("EDNS", "%s: %v for %v", where, m.IsEdns0(), q.IsEdns0())
	}
	for _, rr := range m.Answer {
		for _, w := range want.Answer {
			if h := w.Header(); h.Rrtype == rr.Header().Rrtype && strings.EqualFold(h.Name, rr.Header().Name) && rr.Header().Ttl > h.Ttl {
				s.fault("TTL", "%s: %d, upstream %d", where, rr.Header().Ttl, h.Ttl)
				return
			}
		}
	}
}

// canonical returns records in an order that does not matter, without TTL and case.
func canonical(records []dns.RR) (all []string) {
	for _, rr := range records {
		buf := make([]byte, dns.MaxMsgSize)
		if n, err := dns.PackRR(rr, buf, 0, nil, false); err == nil { // SVCB's keys are in order then
			rr, _, _ = dns.UnpackRR(buf[:n], 0)
		}
		rr.Header().Ttl = 0
		if sig, ok := rr.(*dns.RRSIG); ok { // made for each answer
			sig.Inception, sig.Expiration = 0, 0
		}
		all = append(all, strings.ToLower(rr.String()))
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// scene is one more thing to find out about a resolver.
type scene struct {
	rule string
	must bool // nameroute may have no fault in it
	play func(s *subject)
}

var scenes = []scene{
	{"RD=0 and the cache", true, func(s *subject) {
		for n := range 5 {
			q := new(dns.Msg).SetQuestion(fmt.Sprintf("a.%srd%d.other.example.", s.prefix, n), dns.TypeA)
			q.RecursionDesired = false
			s.ask(false, q)
			q.RecursionDesired, q.Id = true, dns.Id()
			if m, _, err := s.ask(false, q); err != nil || len(m.Answer) != 1 {
				s.fault("RD=0 and the cache", "after RD=0, RD=1 is answered %v, %v", m, err)
			}
		}
	}},
	{"one connection, side by side", true, func(s *subject) {
		conn, err := s.g.Client.DialWith(net.Dialer{Timeout: 5 * time.Second}, "tcp", s.at.String())
		if err != nil {
			s.fault("one connection, side by side", "%v", err)
			return
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(8 * time.Second))
		c := &dns.Conn{Conn: conn}
		c.WriteMsg(new(dns.Msg).SetQuestion("slow."+s.prefix+"tcp.other.example.", dns.TypeA))
		c.WriteMsg(new(dns.Msg).SetQuestion("a."+s.prefix+"tcp.other.example.", dns.TypeA))
		if m, err := c.ReadMsg(); err != nil || !strings.HasPrefix(m.Question[0].Name, "a.") {
			s.fault("one connection, side by side", "a slow name is waited for")
		}
	}},
	{"NXDOMAIN behind a CNAME is cached", false, func(s *subject) {
		for range 3 {
			s.ask(false, new(dns.Msg).SetQuestion("gone."+s.prefix+"nx.other.example.", dns.TypeA))
		}
		if n := s.up.times("gone."+s.prefix+"nx.other.example.", dns.TypeA); n > 1 {
			s.fault("NXDOMAIN behind a CNAME is cached", "asked upstream %d times of 3", n)
		}
	}},
	{"a TTL of 1 stays", true, func(s *subject) {
		for range 2 {
			m, _, err := s.ask(false, new(dns.Msg).SetQuestion("ttl1."+s.prefix+"ttl.other.example.", dns.TypeA))
			if err != nil || len(m.Answer) != 1 || m.Answer[0].Header().Ttl > 1 {
				s.fault("a TTL of 1 stays", "%v, %v", m, err)
			}
		}
	}},
	{"300 connections", true, func(s *subject) {
		refused := 0
		for range 300 {
			conn, err := s.g.Client.DialWith(net.Dialer{Timeout: 2 * time.Second}, "tcp", s.at.String())
			if err != nil {
				refused++
				continue
			}
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(2 * time.Second))
			c := &dns.Conn{Conn: conn}
			if c.WriteMsg(new(dns.Msg).SetQuestion("a."+s.prefix+"many.other.example.", dns.TypeA)) != nil {
				refused++
			} else if _, err := c.ReadMsg(); err != nil {
				refused++
			}
			if refused > 3 {
				s.fault("300 connections", "refused some")
				return
			}
		}
	}},
	malformed("unknown opcode: NOTIMP", true, dns.RcodeNotImplemented, func(q []byte) []byte { q[2] |= 7 << 3; return q }),
	malformed("EDNS version 1: BADVERS", true, dns.RcodeBadVers, func(q []byte) []byte { q[len(q)-5] = 1; return q }),
	malformed("two questions: FORMERR", true, dns.RcodeFormatError, func(q []byte) []byte { q[5] = 2; return q }),
	malformed("two OPT records: FORMERR", false, dns.RcodeFormatError, func(q []byte) []byte { q[11] = 2; return append(q, q[len(q)-11:]...) }),
	malformed("header only: FORMERR", false, dns.RcodeFormatError, func(q []byte) []byte { q[11] = 0; return q[:12] }),
}

// malformed is a query with EDNS that was changed, and the rcode for it.
func malformed(rule string, must bool, rcode int, change func([]byte) []byte) scene {
	return scene{rule, must, func(s *subject) {
		q := new(dns.Msg).SetQuestion("a."+s.prefix+"malformed.other.example.", dns.TypeA)
		q.SetEdns0(1232, false)
		packed, err := q.Pack()
		if err != nil {
			s.fault(rule, "%v", err)
			return
		}
		raw, err := s.exchange(false, change(packed))
		if err != nil || len(raw) < 12 {
			s.fault(rule, "no answer: %v", err)
			return
		}
		got := int(raw[3] & 0xf)
		if m := new(dns.Msg); m.Unpack(raw) == nil {
			got = m.Rcode
		}
		if got != rcode {
			s.fault(rule, "%s", dns.RcodeToString[got])
		}
	}}
}
