package test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/test/netlab"
)

// get fetches a page from the box itself.
func (g *gate) get(port int, path string) (code int, page string, err error) {
	conn, err := g.Box.DialWith(net.Dialer{Timeout: 10 * time.Second}, "tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return 0, "", err
	}
	defer conn.Close()
	client := http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
		DialContext:       func(context.Context, string, string) (net.Conn, error) { return conn, nil },
		DisableKeepAlives: true,
	}}
	reply, err := client.Get(fmt.Sprintf("http://box:%d%s", port, path))
	if err != nil {
		return 0, "", err
	}
	defer reply.Body.Close()
	text, err := io.ReadAll(reply.Body)
	return reply.StatusCode, string(text), err
}

// metric is the sum of a metric's values over all series that have the labels; ok is
// false where there are none.
func metric(t *testing.T, page, name string, labels ...string) (sum float64, ok bool) {
	t.Helper()
	for _, m := range regexp.MustCompile(`(?m)^`+name+`(?:\{(.*)\})? (\S+)$`).FindAllStringSubmatch(page, -1) {
		if slices.ContainsFunc(labels, func(l string) bool { return !strings.Contains(m[1], l) }) {
			continue
		}
		v, err := strconv.ParseFloat(m[2], 64)
		if err != nil {
			t.Fatalf("%s: %v", m[0], err)
		}
		sum, ok = sum+v, true
	}
	return sum, ok
}

func TestMetricsAndReady(t *testing.T) {
	t.Parallel()
	g := bareGate(t, netlab.Options{GoResolvers: true})
	g.Box.WriteFiles(netlab.Setup{Plugins: "prometheus 127.0.0.1:9153\nready 127.0.0.1:8181\nhealth 127.0.0.1:8080"})
	g.start()
	for port, path := range map[int]string{8181: "/ready", 8080: "/health"} {
		if code, text, err := g.get(port, path); err != nil || code != http.StatusOK {
			t.Errorf("%s: %d %q, %v", path, code, text, err)
		}
	}
	g.World.Behave("big.listed.example", netlab.Behavior{Addresses: 120})
	g.World.Add("www.listed.example. 60 IN CNAME edge.cdn.example.")
	page := func() string {
		code, text, err := g.get(9153, "/metrics")
		if err != nil || code != http.StatusOK {
			t.Fatalf("/metrics: %d, %v", code, err)
		}
		return text
	}
	before := page()
	for range 3 { // one asked for and two from the cache
		for _, name := range []string{"a.listed.example", "b.listed.example", "www.listed.example", "other.example"} {
			g.query(name, dns.TypeA, "udp")
		}
	}
	g.query("a.big.listed.example", dns.TypeA, "tcp")
	upstream, isp := fmt.Sprintf(`to="%s:53"`, g.Plan.World.V4), fmt.Sprintf(`to="%s:53"`, g.Plan.ISP.V4)
	counted := []struct {
		name   string
		labels []string
		want   float64
	}{
		{"coredns_listed_queries_total", []string{`view="mine"`, `server="dns://:53"`}, 10},
		{"coredns_listed_alias_names_total", []string{`view="mine"`}, 3},
		{"coredns_route_answers_total", []string{`route="vpn"`, `result="learned"`}, 10},
		{"coredns_route_addresses_total", []string{`route="vpn"`}, 9 + 120},
		{"coredns_upstream_requests_total", []string{`route="vpn"`, upstream, `proto="udp"`}, 4},
		{"coredns_upstream_requests_total", []string{`route="vpn"`, upstream, `proto="tcp"`}, 1},
		{"coredns_upstream_tcp_retries_total", []string{`route="vpn"`, `reason="truncated"`}, 1},
		{"coredns_upstream_requests_total", []string{`route="wan"`, isp, `proto="udp"`}, 1},
		{"coredns_upstream_request_duration_seconds_count", []string{`route="vpn"`, upstream, `rcode="NOERROR"`}, 5},
		{"coredns_cache_hits_total", []string{`view="mine"`, `type="success"`}, 6},
	}
	netlab.Eventually(t, 30*time.Second, func() error { // an answer is sent before all of it is counted
		after := page()
		var wrong []error
		for _, c := range counted {
			was, _ := metric(t, before, c.name, c.labels...) // a series begins with its first count
			got, ok := metric(t, after, c.name, c.labels...)
			got -= was
			wrong = append(wrong, netlab.Check(ok && got == c.want, "%s%v grew by %v (there at all: %v), want %v", c.name, c.labels, got, ok, c.want))
		}
		healthy, ok := metric(t, after, "coredns_upstream_healthy", `route="vpn"`, upstream)
		wrong = append(wrong, netlab.Check(ok && healthy == 1, "the resolver's health is %v, want 1", healthy))
		asking, ok := metric(t, after, "coredns_upstream_in_flight")
		wrong = append(wrong, netlab.Check(ok && asking == 0, "%v queries are in flight, want 0", asking))
		return errors.Join(wrong...)
	})
}
