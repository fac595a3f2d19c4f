package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/miekg/dns"
)

// Each outcome of an attempt leads to one next attempt or to none, and no chain of
// outcomes makes more than eight.
func TestNextAttempt(t *testing.T) {
	r := &resolver{
		key: key{address: address{transport: overUDP}}, opts: &options{}, metrics: newResolverMetrics("vpn", "test"),
		udp: &pool{datagram: true}, tcp: &pool{},
	}
	reply := func(rcode int, truncated, edns bool) *dns.Msg {
		m := new(dns.Msg)
		m.Rcode, m.Truncated = rcode, truncated
		if edns {
			m.SetEdns0(udpSize, false)
		}
		return m
	}
	broken := fmt.Errorf("%w: %w", errBroken, io.EOF)
	for _, tc := range []struct {
		name string
		a    attempt
		m    *dns.Msg
		err  error
		want attempt
		ok   bool
	}{
		{"answer", attempt{pool: r.udp, edns: true}, reply(dns.RcodeSuccess, false, true), nil, attempt{}, false},
		{"truncated over udp", attempt{pool: r.udp, edns: true}, reply(dns.RcodeSuccess, true, true), nil, attempt{pool: r.tcp, edns: true}, true},
		{"truncated over tcp", attempt{pool: r.tcp, edns: true}, reply(dns.RcodeSuccess, true, true), nil, attempt{}, false},
		{"truncated FORMERR", attempt{pool: r.udp, edns: true}, reply(dns.RcodeFormatError, true, false), nil, attempt{pool: r.tcp, edns: true}, true},
		{"FORMERR without EDNS", attempt{pool: r.tcp, edns: true}, reply(dns.RcodeFormatError, false, false), nil, attempt{pool: r.udp}, true},
		{"NOTIMP without EDNS", attempt{pool: r.udp, edns: true}, reply(dns.RcodeNotImplemented, false, false), nil, attempt{pool: r.udp}, true},
		{"FORMERR with EDNS", attempt{pool: r.udp, edns: true}, reply(dns.RcodeFormatError, false, true), nil, attempt{}, false},
		{"FORMERR to a query without EDNS", attempt{pool: r.udp}, reply(dns.RcodeFormatError, false, false), nil, attempt{}, false},
		{"another case", attempt{pool: r.udp, edns: true, exclusive: true}, nil, errCase, attempt{pool: r.tcp, edns: true}, true},
		{"socket broke", attempt{pool: r.tcp, edns: true}, nil, broken, attempt{pool: r.tcp, edns: true, exclusive: true}, true},
		{"network error", attempt{pool: r.udp}, nil, net.ErrClosed, attempt{pool: r.udp, exclusive: true}, true},
		{"exclusive socket broke", attempt{pool: r.tcp, exclusive: true}, nil, broken, attempt{}, false},
		{"no reply", attempt{pool: r.udp, edns: true}, nil, errTimeout, attempt{}, false},
		{"garbage", attempt{pool: r.tcp, edns: true}, nil, fmt.Errorf("%w: %w", errUnpack, io.EOF), attempt{}, false},
		{"no socket", attempt{pool: r.tcp, edns: true}, nil, openError{errors.New("connection refused")}, attempt{}, false},
		{"no socket in time", attempt{pool: r.tcp, edns: true}, nil, openError{context.DeadlineExceeded}, attempt{}, false},
	} {
		got, ok := r.nextAttempt(tc.a, tc.m, tc.err)
		if ok != tc.ok || ok && got != tc.want {
			t.Errorf("%s: got %+v, %v, want %+v, %v", tc.name, got, ok, tc.want, tc.ok)
		}
	}

	outcomes := []struct {
		m   *dns.Msg
		err error
	}{{reply(dns.RcodeFormatError, true, false), nil}, {reply(dns.RcodeFormatError, false, false), nil}, {nil, errCase}, {nil, broken}}
	var longest func(a attempt, depth int) int
	longest = func(a attempt, depth int) int {
		most := depth
		for _, o := range outcomes {
			if errors.Is(o.err, errCase) && !a.pool.datagram {
				continue // accepted on a stream
			}
			if next, ok := r.nextAttempt(a, o.m, o.err); ok && depth < 20 {
				most = max(most, longest(next, depth+1))
			}
		}
		return most
	}
	if n := longest(r.firstAttempt(true), 1); n != 8 {
		t.Errorf("up to %d attempts, want 8: two sockets each of udp and tcp, with and without EDNS", n)
	}
}
