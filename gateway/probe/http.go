package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/pkg/markdial"
)

const (
	// hostLifetime is how long the addresses of a URL's host are used without a new look-up,
	// as long as they answer.
	hostLifetime = 10 * time.Minute
	maxHeader    = 64 << 10
)

// host is what a URL's host resolved to, through the route.
type host struct {
	addrs []netip.Addr
	until time.Time // looked up again then
}

// client sends requests through the worker's route. Each has a connection of its own: that
// one of earlier lives says nothing about a new one.
func (w *worker) client() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DialContext:            func(ctx context.Context, _, addr string) (net.Conn, error) { return w.dial(ctx, addr) },
			DisableKeepAlives:      true,
			DisableCompression:     true,
			MaxResponseHeaderBytes: maxHeader,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// get requests the probe's URL. The body is not read.
func (w *worker) get(ctx context.Context, p gateway.Probe) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.URL, nil)
	if err != nil {
		return err
	}
	request.Header.Set("User-Agent", "nameroute")
	response, err := w.http.Do(request)
	if err != nil {
		w.forget(request.URL.Hostname())
		var wrapped *url.Error // which repeats the URL
		if errors.As(err, &wrapped) {
			err = wrapped.Err
		}
		return err
	}
	defer response.Body.Close()
	return accept(p, request.URL, response)
}

// accept says what is wrong with a response. Who answers in place of the server (a captive
// portal) sends a redirect to another host, or a status that is not the wanted one.
func accept(p gateway.Probe, asked *url.URL, response *http.Response) error {
	status := response.StatusCode
	if p.Code != 0 {
		if status != p.Code {
			return fmt.Errorf("status %d, not %d", status, p.Code)
		}
		return nil
	}
	if status >= 400 {
		return fmt.Errorf("status %d", status)
	}
	if to, err := response.Location(); status >= 300 && err == nil && to.Hostname() != asked.Hostname() {
		return fmt.Errorf("redirected to another host, %s", to.Hostname())
	}
	return nil
}

// dial connects to a host, by the first of its addresses of each family that answers.
func (w *worker) dial(ctx context.Context, addr string) (net.Conn, error) {
	name, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, err
	}
	r := w.current()
	ctx, cancel := context.WithTimeout(ctx, Timeout(r.Probing.Every)) // the transport passes no deadline on
	defer cancel()
	addrs, err := w.resolve(ctx, r, name)
	if err != nil {
		return nil, err
	}
	var tried []netip.Addr
	for _, f := range gateway.Families {
		if i := slices.IndexFunc(addrs, func(a netip.Addr) bool { return gateway.FamilyOf(a) == f }); i >= 0 {
			tried = append(tried, addrs[i])
		}
	}
	type attempt struct {
		conn net.Conn
		err  error
	}
	attempts := make(chan attempt, len(tried))
	for _, a := range tried {
		go func() {
			c, err := markdial.BoundDialer(r.Mark, r.Link, 0).DialContext(ctx, "tcp", netip.AddrPortFrom(a, uint16(number)).String())
			attempts <- attempt{c, err}
		}()
	}
	var won net.Conn
	var errs []error
	for range tried { // nothing is sent any more when this ends
		a := <-attempts
		switch {
		case a.err != nil:
			errs = append(errs, a.err)
		case won != nil:
			a.conn.Close()
		default:
			won = a.conn
			cancel()
		}
	}
	if won != nil {
		return won, nil
	}
	return nil, errors.Join(errs...)
}

// resolve returns the addresses of a URL's host.
func (w *worker) resolve(ctx context.Context, r Route, name string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(name); err == nil {
		return []netip.Addr{a}, nil
	}
	w.mu.Lock()
	h := w.hosts[name]
	w.mu.Unlock()
	if h != nil && time.Now().Before(h.until) {
		return h.addrs, nil
	}
	if len(r.Resolvers) == 0 {
		return nil, unknown("the route has no resolvers of its own: want an address in place of " + name)
	}
	client := markdial.Client{Servers: r.Resolvers, Mark: r.Mark, Link: r.Link, Timeout: Timeout(r.Probing.Every) / 2}
	addrs, err := client.LookupNetIP(ctx, name)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	w.hosts[name] = &host{addrs, time.Now().Add(hostLifetime)}
	w.mu.Unlock()
	return addrs, nil
}

// forget has a host looked up again the next time: its addresses may be others now.
func (w *worker) forget(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if h := w.hosts[name]; h != nil {
		h.until = time.Time{}
	}
}

// targets returns all addresses that probes are sent to.
func (w *worker) targets() []netip.Addr {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []netip.Addr
	resolvers := false
	for _, p := range w.route.Probing.Probes {
		switch {
		case p.Addr.IsValid():
			all = append(all, p.Addr)
		case p.Kind == gateway.ProbeDNS:
			resolvers = true
		case p.Kind == gateway.ProbeHTTP:
			u, err := url.Parse(p.URL)
			if err != nil {
				continue
			}
			if a, err := netip.ParseAddr(u.Hostname()); err == nil {
				all = append(all, a)
				continue
			}
			resolvers = true
			if h := w.hosts[u.Hostname()]; h != nil {
				all = append(all, h.addrs...)
			}
		}
	}
	if resolvers {
		for _, s := range w.route.Resolvers {
			all = append(all, s.Addr())
		}
	}
	slices.SortFunc(all, netip.Addr.Compare)
	return slices.Compact(all)
}
