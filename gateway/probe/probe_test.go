package probe

import (
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/nameroute/nameroute/gateway"
)

// With the defaults a silent route is noticed within 3 s: it may fall silent just after an
// answer, and each round waits for its answers.
func TestNoticedInTime(t *testing.T) {
	for _, every := range []time.Duration{gateway.MinProbeEvery, gateway.DefaultProbeEvery, 5 * time.Second, gateway.MaxProbeEvery} {
		fails := time.Duration(gateway.DefaultProbeFails)
		if got := every + (fails-1)*hurried(every) + Timeout(every); got >= fails*every {
			t.Errorf("every %v: noticed after %v", every, got)
		}
		if hurried(every) < Timeout(every) {
			t.Errorf("every %v: a round of %v begins before the last one has ended", every, Timeout(every))
		}
	}
}

func TestAccept(t *testing.T) {
	for _, tt := range []struct {
		code, status int
		location     string
		want         string
	}{
		{0, 200, "", ""},
		{0, 204, "", ""},
		{0, 301, "https://cp.example/other", ""},
		{0, 304, "", ""},
		{0, 302, "http://portal.example/login", "redirected to another host, portal.example"},
		{0, 404, "", "status 404"},
		{0, 511, "", "status 511"},
		{204, 204, "", ""},
		{204, 200, "", "status 200, not 204"},
		{302, 302, "http://portal.example/login", ""},
	} {
		asked, err := url.Parse("http://cp.example/204")
		if err != nil {
			t.Fatal(err)
		}
		response := &http.Response{StatusCode: tt.status, Header: http.Header{}, Request: &http.Request{URL: asked}}
		if tt.location != "" {
			response.Header.Set("Location", tt.location)
		}
		got := ""
		if err := accept(gateway.Probe{Code: tt.code}, asked, response); err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("%+v: %q", tt, got)
		}
	}
}

func TestTargets(t *testing.T) {
	addr := netip.MustParseAddr
	probes := []gateway.Probe{
		{Kind: gateway.ProbeHandshake},
		{Kind: gateway.ProbePing, Addr: addr("2001:db8::1")},
		{Kind: gateway.ProbeTCP, Addr: addr("192.0.2.1"), Port: 443},
		{Kind: gateway.ProbeDNS, Name: "a.example", Addr: addr("192.0.2.53"), Port: 53},
		{Kind: gateway.ProbeHTTP, URL: "http://[2001:db8::2]:8080/"},
	}
	w := &worker{route: Route{Probing: gateway.Probing{Probes: probes}, Resolvers: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.54:53")}}}
	want := func(addrs ...string) {
		t.Helper()
		var all []netip.Addr
		for _, a := range addrs {
			all = append(all, addr(a))
		}
		if got := w.targets(); !slices.Equal(got, all) {
			t.Errorf("targets %v, want %v", got, all)
		}
	}
	want("192.0.2.1", "192.0.2.53", "2001:db8::1", "2001:db8::2")
	w.route.Probing.Probes = append(probes, gateway.Probe{Kind: gateway.ProbeHTTP, URL: "http://cp.example/"})
	w.hosts = map[string]*host{"cp.example": {addrs: []netip.Addr{addr("192.0.2.80")}}}
	want("192.0.2.1", "192.0.2.53", "192.0.2.54", "192.0.2.80", "2001:db8::1", "2001:db8::2")
}

// Whatever comes in, only the reply to what was sent is an answer.
func FuzzAnswers(f *testing.F) {
	for _, s := range []socket{{}, {six: true}, {raw: true}, {raw: true, six: true}} {
		reply := slices.Clone(s.request())
		reply[0] = map[bool]byte{false: echoReply4, true: echoReply6}[s.six]
		f.Add(reply, s.six, s.raw)
		f.Add(append([]byte{0x45}, make([]byte, 40)...), s.six, s.raw)
	}
	f.Fuzz(func(t *testing.T, m []byte, six, raw bool) {
		s := socket{six: six, raw: raw}
		request := s.request()
		if s.answers(m, request) {
			t.Errorf("%x is taken for the reply to %x", m, request)
		}
		reply := slices.Clone(request)
		reply[0] = map[bool]byte{false: echoReply4, true: echoReply6}[six]
		if raw && !six {
			reply = append(append([]byte{0x45}, make([]byte, 19)...), reply...)
		}
		if !s.answers(reply, request) {
			t.Errorf("%x is not taken for the reply to %x", reply, request)
		}
		if !six && checksum(request) != 0 {
			t.Errorf("the checksum of %x is wrong", request)
		}
	})
}
