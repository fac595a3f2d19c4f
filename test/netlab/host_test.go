package netlab

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// standIn is a program that takes the product's flags and answers queries, so that
// starting and stopping the product can be tried without it.
func standIn(t *testing.T, l *Lab) string {
	t.Helper()
	path := filepath.Join(l.Dir, "stand-in")
	script := fmt.Sprintf(`#!/bin/sh
echo "started with $*, trusting $SSL_CERT_FILE"
case "$1" in
run) exec dnsmasq --keep-in-foreground --conf-file=/dev/null --user=root --pid-file= --no-hosts --no-resolv --bind-interfaces \
	--interface=br-lan --edns-packet-max=1232 --server=%s --log-facility=- ;;
*) exit 7 ;;
esac
`, l.Plan.World.V4)
	if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestClientUsesTheBox(t *testing.T) {
	t.Parallel()
	Need(t, "dnsmasq", "dig", "curl")
	l := New(t, Options{GoResolvers: true})
	l.Box.WriteFiles(Setup{Listed: []string{"a.example", "b.example"}, Route: "mtu: 1300"})
	p := l.Box.StartProduct(standIn(t, l), "run")
	for _, want := range append(l.Box.Flags(), "started with run", l.CAFile()) {
		if !strings.Contains(p.Output(), want) {
			t.Errorf("output has no %q:\n%s", want, p.Output())
		}
	}
	host := l.World.Addresses("www.plain.example")
	if out, err := l.Client.Dig("+short", "www.plain.example", "AAAA"); err != nil || strings.TrimSpace(out) != host.V6.String() {
		t.Errorf("dig: %q (%v)", out, err)
	}
	if addrs, err := l.Client.Resolve("www.plain.example"); err != nil || !slices.Equal(addrs, host.All()) {
		t.Errorf("Resolve: %v (%v)", addrs, err)
	}
	l.World.Behave("many.example", Behavior{Addresses: 120})
	if addrs, err := l.Client.Resolve("many.example"); err != nil || len(addrs) != 240 {
		t.Errorf("Resolve over TCP: %d addresses (%v)", len(addrs), err)
	}
	for _, proto := range []string{"udp", "tcp", "udp6", "tcp6"} {
		r, err := l.Client.Query(new(dns.Msg).SetQuestion("www.plain.example.", dns.TypeA), proto)
		if err != nil || len(r.Answer) != 1 {
			t.Errorf("%s: %v (%v)", proto, r, err)
		}
	}
	for _, url := range []string{"http://www.plain.example/", "https://www.plain.example/"} {
		for _, family := range []string{"-4", "-6"} {
			if egress, err := l.Client.Curl(url, family); err != nil || egress != ViaWAN {
				t.Errorf("curl %s %s: by %q (%v)", family, url, egress, err)
			}
		}
	}
	l.World.Behave("late.example", Behavior{Rcode: dns.RcodeServerFailure})
	go func() {
		_ = Poll(patience, func() error { return Check(len(l.World.Queries("late.example")) >= 3, "not yet") })
		l.World.Behave("late.example", Behavior{})
	}()
	l.Box.AwaitNames("late.example", 10*time.Second)
	if n := len(l.World.Queries("late.example")); n < 4 {
		t.Errorf("%d queries until the names were there", n)
	}
	if err := p.Stop(); err != nil {
		t.Errorf("stopped with %v", err)
	}
	if _, err := l.Client.Resolve("www.plain.example"); err == nil {
		t.Error("an answer though nothing runs")
	}
}

func TestProductThatDoesNotStart(t *testing.T) {
	t.Parallel()
	Need(t, "dnsmasq")
	l := New(t, Options{GoResolvers: true})
	path := standIn(t, l)
	var exit interface{ ExitCode() int }
	if err := l.Box.Launch(path, "check").Wait(5 * time.Second); !errors.As(err, &exit) || exit.ExitCode() != 7 {
		t.Errorf("ended with %v, want exit code 7", err)
	}
	r := &record{}
	l.Box.Namespace.t = r
	defer func() { l.Box.Namespace.t = t }()
	if fatal := r.run(func() { l.Box.StartProduct(path, "check") }); !strings.Contains(fatal, "before it answered") {
		t.Errorf("the test went on: %q", fatal)
	}
}

func TestWAN(t *testing.T) {
	t.Parallel()
	l := New(t, Options{GoResolvers: true})
	hosts := l.World.Addresses("plain.example").All()
	reach := func(want bool, when string) {
		t.Helper()
		for _, to := range hosts {
			egress, err := l.Client.AskWithin(to, 300*time.Millisecond)
			if want && err != nil {
				// The first datagrams may be lost while the neighbours find each other again.
				err = Poll(patience, func() (err error) {
					egress, err = l.Client.AskWithin(to, 300*time.Millisecond)
					return err
				})
			}
			if (err == nil) != want {
				t.Errorf("%s: %s by %q (%v)", when, to, egress, err)
			}
		}
	}
	l.Box.AwaitEgress("wan0", time.Second)
	l.WANDown()
	if out := l.Box.Run("ip", "-4", "route", "show", "table", "all", "default", "dev", "wan0"); out != "" {
		t.Errorf("a WAN that is down has a default route: %s", out)
	}
	reach(false, "down")
	l.WANUp()
	reach(true, "up again")
	l.UnplugWAN()
	reach(false, "unplugged")
	if out := l.Box.Run("ip", "route", "show", "default"); !strings.Contains(out, "linkdown") {
		t.Errorf("unplugged, the box's route is %q", out)
	}
	l.PlugWAN()
	reach(true, "plugged in")
}

func TestFlow(t *testing.T) {
	t.Parallel()
	l := New(t, Options{GoResolvers: true})
	host := l.World.Addresses("plain.example")
	for _, to := range host.All() {
		f := l.Client.Flow(to)
		if f.Egress != ViaWAN || !f.Progress(patience) {
			t.Errorf("flow to %s: by %q, %v", to, f.Egress, f.Report())
		}
		f.ResetGap()
		l.UnplugWAN()
		if f.Progress(250 * time.Millisecond) {
			t.Errorf("flow to %s goes on over an unplugged WAN", to)
		}
		l.PlugWAN()
		if !f.Progress(patience) {
			t.Errorf("flow to %s does not go on: %v", to, f.Report())
		}
		if r := f.Report(); r.Gap < 250*time.Millisecond || r.Err != nil {
			t.Errorf("flow to %s: %v, want a gap of 250 ms", to, r)
		}
		f.Close()
		if r := f.Report(); !errors.Is(r.Err, net.ErrClosed) || r.Echoed == 0 {
			t.Errorf("closed: %v", r)
		}
	}
	// A flow that the other end resets says so.
	f := l.Client.Flow(host.V4)
	l.Internet.Run("ss", "--kill", "--tcp", "sport", "=", fmt.Sprint(EchoPort))
	_ = Poll(patience, func() error { return Check(f.Report().Err != nil, "not yet") })
	if r := f.Report(); r.Err == nil || errors.Is(r.Err, io.ErrUnexpectedEOF) || errors.Is(r.Err, net.ErrClosed) {
		t.Errorf("reset by the far end: %v", r)
	}
}
