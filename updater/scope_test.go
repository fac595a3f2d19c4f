package updater

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/nameroute/nameroute/gateway"
)

func TestScopes(t *testing.T) {
	own := []netip.Prefix{netip.MustParsePrefix("9.9.8.2/24"), netip.MustParsePrefix("2a00:1:2:3::1/64"), netip.MustParsePrefix("192.168.7.1/24")}
	for s, addrs := range map[scope]string{
		scopePublic: "1.1.1.1 9.9.9.9 172.15.0.1 172.32.0.1 100.63.0.1 2606:4700::1111 2a00:1:2:4::1 ::ffff:1.1.1.1 64:ff9b::101:101 2002:101:101::1",
		scopePrivate: "10.0.0.1 172.16.0.1 172.31.255.255 192.168.1.1 100.64.0.1 169.254.169.254 224.0.0.1 255.255.255.255 fd00::1 fe80::1 fe80::1%lo ff02::1 " +
			"9.9.8.7 2a00:1:2:3::99 ::ffff:192.168.1.1 ::192.168.1.1 64:ff9b::c0a8:101 64:ff9b:1::101:101 2002:c0a8:101::1 2001:0:1:1:0:0:3f57:fefe 2a00:9::5efe:c0a8:101 64:ff9b::909:807",
		scopeBox: "127.0.0.1 127.9.9.9 0.0.0.0 :: ::1 ::ffff:127.0.0.1 ::ffff:0.0.0.0 ::127.0.0.1 64:ff9b::7f00:1 2002:7f00:1::1 9.9.8.2 192.168.7.1 2a00:1:2:3::1 64:ff9b::909:802",
	} {
		for _, a := range strings.Fields(addrs) {
			if got := scopeOf(netip.MustParseAddr(a), own); got != s {
				t.Errorf("%s is %v, want %v", a, got, s)
			}
		}
	}
	for s, hosts := range map[scope]string{
		scopePublic:  "lists.example.org cdn.example.net. 1.1.1.1",
		scopePrivate: "router 2130706433 0x7f.1 127.1 fritz.box.lan nas.local a.home.arpa 10.0.0.1 metadata.google.internal a.. ..",
		scopeBox:     "localhost LocalHost. a.localhost 127.0.0.1 ::1",
	} {
		for _, h := range strings.Fields(hosts) {
			if got := hostScope(h, func(a netip.Addr) scope { return scopeOf(a, nil) }); got != s {
				t.Errorf("%s is %v, want %v", h, got, s)
			}
		}
	}
	if hostScope("", nil) != scopePrivate {
		t.Error("no host")
	}
}

// siteAt is a site at an address of its own.
func siteAt(t *testing.T, addr string) *site {
	t.Helper()
	s := &site{serve: http.NotFound}
	l, err := net.Listen("tcp", net.JoinHostPort(addr, "0"))
	if err != nil {
		t.Fatal(err)
	}
	s.Server = httptest.NewUnstartedServer(s)
	s.Listener.Close()
	s.Listener = l
	s.Start()
	t.Cleanup(s.Close)
	return s
}

// scoped makes a box to which 127.0.N.x has the scope N.
func scoped(t *testing.T, url string, keys ...string) *box {
	b := newBox(t, url, keys...)
	dialers := b.dialers
	b.dialers = func(cfg *gateway.Config, s gateway.Source) (dialer, error) {
		d, err := dialers(cfg, s)
		d.scope = func(a netip.Addr) scope { return scope(a.Unmap().As4()[2]) }
		return d, err
	}
	return b
}

// A redirect reaches nothing that is closer to this box than what sent it: no request at all
// arrives there. What the user wrote is fetched wherever it is.
func TestRedirectsStayInTheirScope(t *testing.T) {
	var sites [3]*site
	for i := range sites {
		sites[i] = siteAt(t, fmt.Sprintf("127.0.%d.1", i))
	}
	content := list(3, "example")
	for from := range sites {
		for to := range sites {
			for _, via := range []int{-1, 0, 1} { // straight, or by a step between
				if from == to {
					continue
				}
				sites[to].answer(file(content))
				first := sites[to].URL + "/l"
				widest := from
				if via >= 0 {
					if via == to || via == from || via > from {
						continue
					}
					sites[via].answer(redirect(first))
					first, widest = sites[via].URL+"/v", via
				}
				sites[from].answer(redirect(first))
				b := scoped(t, sites[from].URL+"/l")
				if to <= widest {
					b.update(Updated, "")
					continue
				}
				b.update(Failed, "redirect from "+scope(widest).String()+" to 127.0.")
				if n := len(sites[to].requests()); n > 0 {
					t.Errorf("from %d by %d to %d: %d requests arrived", from, via, to, n)
				}
			}
		}
	}
	for i := range sites {
		sites[i].answer(file(content))
		scoped(t, sites[i].URL+"/l").update(Updated, "")
	}
	// The other forms of an address, and what belongs to a list.
	sites[0].answer(redirect(strings.Replace(sites[1].URL, "127.0.1.1", "[::ffff:127.0.1.1]", 1)))
	scoped(t, sites[0].URL+"/l").update(Failed, "redirect from a public address to ::ffff:127.0.1.1")
	scoped(t, sites[2].URL+"/l", "sha256_url: "+sites[0].URL+"/sum").update(Failed, "sha256_url: redirect from a public address")
	// A mirror that was reached before lends its connection to no redirect.
	sites[1].answer(http.NotFound)
	mirrors := scoped(t, "["+sites[1].URL+"/l, "+sites[0].URL+"/l]")
	sites[0].answer(redirect(sites[1].URL + "/admin?reboot=1"))
	mirrors.update(Failed, "redirect from a public address to 127.0.1.1")
	for _, r := range sites[1].requests() {
		if r.URL.Path == "/admin" {
			t.Error("the router was asked to reboot")
		}
	}
}

// A proxy resolves by itself; hosts that are private by their text are refused all the same.
func TestRedirectsThroughAProxyStayInTheirScope(t *testing.T) {
	proxy := newSite(t)
	var asked []string
	proxy.answer(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.Host)
		switch r.URL.Host {
		case "lists.example":
			redirect("http://"+r.URL.Query().Get("to")+"/")(w, r)
		default:
			file(list(3, "example"))(w, r)
		}
	})
	u, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	d := dialer{v4: true, v6: true}
	client := newClient(d, gateway.Source{}, http.ProxyURL(u), nil)
	for to, fine := range map[string]bool{
		"other.example": true, "192.168.1.1": false, "127.0.0.1": false, "[::1]": false, "localhost": false, "router": false,
		"2130706433": false, "169.254.169.254": false, "[64:ff9b::c0a8:101]": false, "9.9.9.9": true,
	} {
		asked = nil
		req, err := http.NewRequestWithContext(withVisit(context.Background()), http.MethodGet, "http://lists.example/?to="+url.QueryEscape(to), nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err == nil {
			resp.Body.Close()
		}
		if (err == nil) != fine || (len(asked) == 2) != fine {
			t.Errorf("%s: %v, the proxy was asked for %v", to, err, asked)
		}
	}
}
