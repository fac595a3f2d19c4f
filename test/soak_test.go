package test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nameroute/nameroute/test/netlab"
)

// soakEnv says how long TestSoak runs, such as 1h; without it there is no soak.
// soakSeedEnv repeats a run's events.
const (
	soakEnv     = "NAMEROUTE_SOAK"
	soakSeedEnv = "NAMEROUTE_SOAK_SEED"
)

// TestSoak runs a gateway under traffic for a long time, while events come at random,
// and watches all along that nothing leaves by the wrong egress, that everything is
// answered again soon, and that nothing grows.
func TestSoak(t *testing.T) {
	if os.Getenv(soakEnv) == "" {
		t.Skipf("it takes its time: make soak (%s=1h)", soakEnv)
	}
	length, err := time.ParseDuration(os.Getenv(soakEnv))
	if err != nil {
		t.Fatalf("%s: %v: want a duration, such as 1h", soakEnv, err)
	}
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv(soakSeedEnv); text != "" {
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("%s: %v", soakSeedEnv, err)
		}
	}
	t.Logf("%s=%d", soakSeedEnv, seed)
	random := rand.New(rand.NewPCG(seed, 0))
	s := newSoak(t)
	events := s.events()
	for _, e := range events { // each once, so that what grows is measured against that
		s.run(e)
	}
	s.settle()
	for end := time.Now().Add(length); time.Now().Before(end) && !t.Failed(); {
		s.run(events[random.IntN(len(events))])
		time.Sleep(time.Duration(random.IntN(3000)) * time.Millisecond)
	}
	s.bounded()
	s.table()
	for _, f := range s.faults {
		t.Error(f)
	}
}

// TestTheSoakCanFail: the harness of TestSoak sees what it is there to see.
func TestTheSoakCanFail(t *testing.T) {
	t.Parallel()
	s := newSoak(t)
	for _, e := range s.events() {
		if e.name == "SIGHUP" || e.name == "list" {
			e.limit = 30 * time.Second // a machine may be busy for longer than a soak lets it
			s.run(e)
		}
	}
	s.settle()
	if len(s.faults) > 0 {
		t.Fatalf("while nothing is wrong: %q", s.faults)
	}
	expect := func(what, fault string, e soakEvent) {
		t.Helper()
		s.faults = nil
		s.run(e)
		if !slices.ContainsFunc(s.faults, func(f string) bool { return strings.Contains(f, fault) }) {
			t.Errorf("%s: no %q in %q", what, fault, s.faults)
		}
	}
	expect("an orphan that is flushed", "in the clear", soakEvent{"orphan", 20 * time.Second, func() {
		s.p.Kill()
		s.killHolder()
		netlab.Eventually(t, 10*time.Second, func() error { // until the kernel has closed the holder's files
			s.flush() // no process is there to put the table back
			tables := s.Box.Run("nft", "list", "tables")
			return netlab.Check(!strings.Contains(tables, "inet nameroute"), "the table is still owned: %s", tables)
		})
		time.Sleep(300 * time.Millisecond)
		s.relaunch()
	}})
	expect("a process that hangs", "not answered again", soakEvent{"hang", 200 * time.Millisecond, func() {
		s.p.Signal(unix.SIGSTOP)
		time.AfterFunc(2*time.Second, func() { _ = unix.Kill(s.p.Pid, unix.SIGCONT) })
		time.Sleep(100 * time.Millisecond)
	}})
	s.faults, s.base.fds = nil, 1-soakMoreFiles
	s.bounded()
	if len(s.faults) == 0 {
		t.Error("open files that grow are not seen")
	}
	s.table()
}

// soakEvent is something that happens to a gateway.
type soakEvent struct {
	name  string
	limit time.Duration // after it, until everything is answered again
	do    func()
}

// events are all that a soak draws from.
func (s *soak) events() []soakEvent {
	const soon, restart, handshake = 5 * time.Second, 15 * time.Second, 25 * time.Second
	both := func(command string) {
		for _, family := range []string{"-4", "-6"} {
			s.Box.Run(strings.Fields("ip " + family + " " + command)...)
		}
	}
	corefile := s.read("Corefile")
	turn := 0
	next := func() int { turn++; return turn }
	return []soakEvent{
		{"ruleset flushed", soon, s.flush},
		{"SIGHUP", soon, func() { s.hangUp("reload complete") }},
		{"list", soon, func() {
			name := fmt.Sprintf("added%d.example", next())
			s.Box.Write("mine.txt", "listed.example\n"+name+"\n")
			s.awaitListed("www." + name)
		}},
		{"Corefile", soon, func() {
			s.Box.Write("Corefile", fmt.Sprintf("%s# %d\n", corefile, next()))
			s.nameroute("reload")
		}},
		{"gateway.yaml", soon, func() {
			text, _, _ := strings.Cut(s.read("gateway.yaml"), "# ")
			s.Box.Write("gateway.yaml", fmt.Sprintf("%s# %d\n", text, next()))
			s.nameroute("reload")
		}},
		{"provider's file", soon, func() {
			s.Box.Write("wg0.conf", s.WireGuardConf()+fmt.Sprintf("PersistentKeepalive = %d\n", 20+next()%5))
			s.nameroute("reload")
		}},
		{"killed", restart, func() { s.p.Kill(); s.relaunch() }},
		{"stopped", restart, func() {
			if err := s.p.Stop(); err != nil {
				s.fault("SIGTERM: %v", err)
			}
			s.relaunch()
		}},
		{"tunnel deleted", handshake, func() { s.Box.Delete("wg0") }},
		{"endpoint silent", handshake, func() {
			s.Tunnel.Silence(true)
			time.Sleep(4 * time.Second)
			s.Tunnel.Silence(false)
		}},
		{"cable out", handshake, func() { s.UnplugWAN(); time.Sleep(time.Second); s.PlugWAN() }},
		{"WAN down", handshake, func() { s.FlapWAN(500 * time.Millisecond) }},
		{"rules flushed", soon, func() { both("rule flush proto 110") }},
		{"routes flushed", soon, func() { both("route flush table all proto 110") }},
	}
}

// flush takes everything in nftables away, and puts back what is the box's own.
func (s *soak) flush() {
	s.Box.Run("nft", "flush", "ruleset")
	s.Box.NFT(`table inet box_firewall {
		chain postrouting { type nat hook postrouting priority srcnat; oifname wan0 masquerade; }
	}`)
}

// relaunch starts nameroute again; that it answers is for the event's limit.
func (s *soak) relaunch() {
	s.p = s.Box.Launch(binary, quickDown...)
	s.logs(s.p)
}

// awaitListed waits until a name goes via the tunnel.
func (s *soak) awaitListed(name string) {
	if err := netlab.Poll(30*time.Second, func() error {
		addrs, err := s.Client.Resolve(name)
		routed := err == nil && len(addrs) > 0 && subset([]string{addrs[0].String()}, s.elements())
		return netlab.Check(routed, "%s is not routed although it is on the list: %v, %v", name, addrs, err)
	}); err != nil {
		s.fault("%v", err)
	}
}
