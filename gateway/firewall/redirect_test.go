package firewall_test

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/firewall"
	"github.com/nameroute/nameroute/gateway/learned"
	"github.com/nameroute/nameroute/gateway/nft"
	"golang.org/x/sys/unix"
)

// redirecting is the lab's spec with `redirect_dns` and our resolver on port 53.
func redirecting() firewall.Spec {
	s := labSpec()
	s.Config.Redirect = gateway.Redirect{On: true, RejectDoT: true, Except: prefixes("192.168.1.5/32", "9.9.9.9/32", "2620:fe::/48")}
	s.Listeners = []firewall.Listener{{Proto: "udp", Port: 53, DNS: true}, {Proto: "tcp", Port: 53, DNS: true}, {Proto: "tcp", Port: 853}}
	return s
}

// TestPrintedRedirect compares what we print and what nft prints, and applies it twice,
// also with a listener on one address only.
func TestPrintedRedirect(t *testing.T) {
	narrow := redirecting()
	narrow.Listeners = []firewall.Listener{{Addr: addr("192.168.1.1"), Proto: "udp", Port: 53, DNS: true}, {Addr: addr("fd00:1::1"), Proto: "tcp", Port: 5353, DNS: true}}
	for _, s := range []firewall.Spec{redirecting(), narrow} {
		k := open(t, learned.Options{Force: nft.ModePlain})
		applyTwice(t, k, s)
		if diff := cmp.Diff(firewall.Desired(s).String(), listTable(t)); diff != "" {
			t.Errorf("-Table.String() +nft list table:\n%s", diff)
		}
		if err := k.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// resolver serves port 53 of the box: who asks it hears "" and its own address.
func boxResolver(t *testing.T) {
	t.Helper()
	for _, a := range []string{"192.168.1.1", "fd00:1::1"} {
		serve(t, "", addr(a), 53)
	}
}

// publicResolvers serves ports 53 and 853 of two addresses that only others have.
func publicResolvers(t *testing.T) {
	t.Helper()
	for _, ns := range []string{"isp", "vpn"} {
		for _, a := range []string{"8.8.8.8", "2606:4700::1", "9.9.9.9", "2620:fe::9"} {
			serve(t, ns, addr(a), 53)
			serve(t, ns, addr(a), 853)
		}
	}
}

func at(a string, port int) string { return netip.AddrPortFrom(addr(a), uint16(port)).String() }

// wantRefused wants that no program listens there, and that the client is told so at once.
func wantRefused(t *testing.T, ns, to string) {
	t.Helper()
	if _, err := connect(t, ns, "tcp", "", to); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("tcp from %q to %s: %v, want it refused", ns, to, err)
	}
	f, err := connect(t, ns, "udp", "", to)
	if err == nil {
		_, err = fmt.Fprintln(f, "who?")
	}
	if err == nil {
		err = f.SetDeadline(time.Now().Add(patience))
	}
	if err == nil {
		_, err = f.Read(make([]byte, 1))
	}
	if !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("udp from %q to %s: %v, want it refused", ns, to, err)
	}
}

// TestPacketsRedirected: a query to a resolver on the internet is answered by the box,
// and the answer comes from where the client sent it; also where that address is routed.
func TestPacketsRedirected(t *testing.T) {
	modes(t, func(t *testing.T, m nft.Mode) {
		lab(t)
		boxResolver(t)
		publicResolvers(t)
		serve(t, "vpnbox", addr("192.168.1.5"), 53)
		serve(t, "guest", addr("192.168.2.10"), 53)
		serve(t, "guest", addr("192.168.2.10"), 853)
		k := open(t, learned.Options{Force: m})
		s := redirecting()
		applyTwice(t, k, s)
		for range 2 { // the second time, the resolvers' addresses are routed
			for _, f := range families {
				expect(t, "client", at(f.listed, 53), f.client)
				wantRefused(t, "client", at(f.listed, 853))
			}
			learn(t, k, vpn, time.Hour, "8.8.8.8", "2606:4700::1")
		}
		for _, f := range families {
			expect(t, "client", f.listed, "vpn "+f.tunnel)         // another port
			expect(t, "client", at(f.other, 53), "isp "+f.client)  // exempt resolver
			expect(t, "client", at(f.other, 853), "isp "+f.client) //
			expect(t, "guest", at(f.listed, 53), "vpn "+f.tunnel)  // not lan
			expect(t, "guest", at(f.listed, 853), "vpn "+f.tunnel) //
			expect(t, "", at(f.listed, 53), "vpn "+f.tunnel)       // the box's own
			expect(t, "", at(f.listed, 853), "vpn "+f.tunnel)      //
		}
		// Connected networks that are not behind lan: another one, and the uplink's.
		for _, resolver := range []string{"192.168.2.10", "5.5.5.1"} {
			expect(t, "client", resolver+":53", "192.168.1.10")
			wantRefused(t, "client", resolver+":853")
		}
		expect(t, "client", "[fd00:5::1]:53", "fd00:1::10")
		wantRefused(t, "client", "[fd00:5::1]:853")
		expect(t, "client", "192.168.1.5:53", "vpnbox 192.168.1.10")
		sh(t, "ip -n vpnbox addr del 8.8.8.8/32 dev lo; ip -n vpnbox route add default via 192.168.1.1")
		expect(t, "vpnbox", "8.8.8.8:53", "vpn 10.2.0.2") // exempt client
		c, err := firewall.ReadCounts()
		if err != nil || c.Redirected.Packets != 14 || c.Refused.Packets != 14 || c.Dropped["vpn"].Packets != 0 {
			t.Errorf("counted %+v, %v", c, err)
		}

		// Off, while the client goes on.
		s.Config.Redirect = gateway.Redirect{}
		applyTwice(t, k, s)
		for _, f := range families {
			expect(t, "client", at(f.listed, 53), "vpn "+f.tunnel)
			expect(t, "client", at(f.listed, 853), "vpn "+f.tunnel)
		}
	})
}

// TestPacketsRedirectedElsewhere: a listener on one address and another port gets
// the queries at that address, and one on the loopback address or of DoT is none.
func TestPacketsRedirectedElsewhere(t *testing.T) {
	lab(t)
	publicResolvers(t)
	serve(t, "", addr("192.168.2.1"), 5353)
	k := open(t, learned.Options{})
	s := redirecting()
	s.Listeners = []firewall.Listener{{Addr: addr("127.0.0.1"), Proto: "udp", Port: 53, DNS: true}, {Proto: "udp", Port: 853},
		{Addr: addr("192.168.2.1"), Proto: "udp", Port: 5353, DNS: true}, {Addr: addr("192.168.2.1"), Proto: "tcp", Port: 5353, DNS: true}}
	applyTwice(t, k, s)
	learn(t, k, vpn, time.Hour, "8.8.8.8")
	expect(t, "client", "8.8.8.8:53", "192.168.1.10")
	expect(t, "client", "[2606:4700::1]:53", "isp fd00:1::10")
	if diff := cmp.Diff([]string{"UDP over IPv6", "TCP over IPv6"}, s.Unanswered()); diff != "" {
		t.Error(diff)
	}
}

// TestPacketsSentOnByOthers: another program's rule redirects queries to a resolver on
// lan. The kill switch does not drop them although the address they were sent to is routed.
func TestPacketsSentOnByOthers(t *testing.T) {
	lab(t)
	serve(t, "guest", addr("192.168.2.10"), 53)
	k := open(t, learned.Options{})
	apply(t, k, labSpec())
	sh(t, `nft 'table ip theirs { chain pre { type nat hook prerouting priority dstnat; iifname "br-lan" ip daddr 8.8.8.8 meta l4proto { tcp, udp } th dport 53 dnat to 192.168.2.10; }; }'`)
	learn(t, k, vpn, time.Hour, "8.8.8.8")
	expect(t, "client", "8.8.8.8:53", "guest 192.168.1.10")
	expect(t, "client", "8.8.8.8:7", "vpn 10.2.0.2")
}
