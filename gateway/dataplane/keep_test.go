package dataplane

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nameroute/nameroute/gateway/config"
	"github.com/nameroute/nameroute/gateway/firewall"
	"github.com/nameroute/nameroute/gateway/nft"
	"github.com/nameroute/nameroute/test/netlab"
	"github.com/nameroute/nameroute/test/netlab/shell"
)

// lab is a gateway's files, and the controller on them with what a Corefile needs.
type lab struct {
	t     *testing.T
	dir   string
	c     *Controller
	end   func() error
	route map[string]*Route
}

const labConfig = `routes:
  vpn:
    interface: tun0
  office:
    interface: tun1
lists:
  mine:
    file: mine.txt
  work:
    file: work.txt
`

func newLab(t *testing.T) *lab {
	t.Helper()
	netlab.Need(t, "nft")
	b := &lab{t: t, dir: t.TempDir()}
	b.write("gateway.yaml", strings.ReplaceAll(labConfig, "file: ", "file: "+b.dir+"/"))
	b.write("mine.txt", "a.example\nb.example\n")
	b.write("work.txt", "work.example\n")
	t.Cleanup(func() {
		b.stop()
		sh(t, "nft list tables | sed 's/^/delete /' | nft -f -")
	})
	return b
}

var sh = shell.Run

func (b *lab) write(name, text string) {
	b.t.Helper()
	file := filepath.Join(b.dir, name)
	// As editors do: a reader in between must not see half of it.
	if err := os.WriteFile(file+"~", []byte(text), 0o600); err != nil {
		b.t.Fatal(err)
	}
	if err := os.Rename(file+"~", file); err != nil {
		b.t.Fatal(err)
	}
}

// start runs the controller for blocks `listed mine; route vpn` and `listed work; route office`.
func (b *lab) start() {
	b.t.Helper()
	cfg, err := config.Load(filepath.Join(b.dir, "gateway.yaml"))
	if err != nil {
		b.t.Fatal(err)
	}
	c, err := New(Options{Config: cfg, State: filepath.Join(b.dir, "state")})
	if err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	b.c, b.route = c, map[string]*Route{}
	b.end = func() error { cancel(); return <-ended }
	req := Requirements{Lists: []string{"mine", "work"}}
	for route, list := range map[string]string{"vpn": "mine", "office": "work"} {
		if _, ok := cfg.Route(route); ok {
			req.Uses = append(req.Uses, Use{Route: route, Learns: true, Lists: []string{list}})
			b.route[route] = c.Route(route)
		}
	}
	if err := c.Require(b.t.Context(), req); err != nil {
		b.t.Fatal(err)
	}
}

// answersAny has the block of a route answer any name, or those of its lists.
func (b *lab) answersAny(route string, any bool) {
	req := b.c.requirements()[0]
	req.Uses = slices.Clone(req.Uses)
	for i := range req.Uses {
		if req.Uses[i].Route == route {
			req.Uses[i].Any = any
		}
	}
	b.c.Relax(req)
}

func (b *lab) stop() {
	b.t.Helper()
	if b.c == nil {
		return
	}
	if err := b.end(); err != nil {
		b.t.Error(err)
	}
	b.c = nil
}

func (b *lab) learn(route, name string, life time.Duration, addrs ...string) {
	b.t.Helper()
	if err := b.admit(route, name, life, addrs...); err != nil {
		b.t.Fatal(err)
	}
}

func (b *lab) admit(route, name string, life time.Duration, addrs ...string) error {
	_, err := b.route[route].Admit(b.t.Context(), Answer{Name: name, Addrs: parseAddrs(addrs), Need: life, Want: life}, nil)
	return err
}

// left is how long the kernel keeps an address; 0 is not at all.
func (b *lab) left(route, a string) time.Duration {
	b.t.Helper()
	r, ok := b.c.Config().Route(route)
	if !ok {
		return 0
	}
	elems, err := nft.ReadElements(*pick(firewall.Pair(r), a))
	if err != nil {
		b.t.Fatal(err)
	}
	for _, e := range elems {
		if e.Addr == netip.MustParseAddr(a) {
			return e.Left
		}
	}
	return 0
}

func pick(p nft.SetPair, a string) *nft.SetRef {
	if netip.MustParseAddr(a).Is4() {
		return &p.Set4
	}
	return &p.Set6
}

func about(got, want time.Duration) bool { return got < want+2*time.Second && got > want-5*time.Second }

func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	netlab.Eventually(t, 10*time.Second, func() error { return netlab.Check(ok(), "not yet") })
}

// TestReboot: the table is deleted while no process runs, as by a reboot.
// What had not ended is back when the requirements are met.
func TestReboot(t *testing.T) {
	b := newLab(t)
	b.start()
	b.learn("vpn", "a.example.", time.Hour, "8.8.8.8", "2606:4700::1")
	b.learn("vpn", "b.example.", time.Second, "8.8.4.4")
	b.learn("office", "work.example.", 30*time.Minute, "9.9.9.9", "2620:fe::9")
	b.stop()
	sh(t, "nft delete table inet nameroute")
	time.Sleep(1100 * time.Millisecond)
	b.start()
	for a, want := range map[string]time.Duration{"8.8.8.8": time.Hour, "2606:4700::1": time.Hour} {
		if got := b.left("vpn", a); !about(got, want) {
			t.Errorf("%s lives %v, want %v", a, got, want)
		}
	}
	if got := b.left("vpn", "8.8.4.4"); got != 0 {
		t.Errorf("what had ended lives %v", got)
	}
	if got := b.left("office", "2620:fe::9"); !about(got, 30*time.Minute) {
		t.Errorf("2620:fe::9 lives %v", got)
	}

	// The kernel's own times win over stored ones, and a crash loses nothing.
	b.learn("vpn", "a.example.", 2*time.Hour, "8.8.8.8")
	before := string(read(t, b, "state/learned"))
	b.stop()
	b.write("state/learned", before)
	b.write("gateway.yaml", strings.ReplaceAll(strings.Replace(labConfig, "  office:\n    interface: tun1\n", "", 1), "file: ", "file: "+b.dir+"/"))
	b.start()
	if got := b.left("vpn", "8.8.8.8"); !about(got, 2*time.Hour) {
		t.Errorf("8.8.8.8 lives %v", got)
	}
	eventually(t, func() bool { return !strings.Contains(sh(t, "nft list sets"), "office") })
}

func read(t *testing.T, b *lab, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(b.dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestForeignState: a file that is not ours stops nothing and is set aside.
func TestForeignState(t *testing.T) {
	b := newLab(t)
	if err := os.Mkdir(filepath.Join(b.dir, "state"), 0o755); err != nil {
		t.Fatal(err)
	}
	b.write("state/learned", "something else\n")
	b.start()
	if got := string(read(t, b, "state/learned.bad")); got != "something else\n" {
		t.Errorf("set aside: %q", got)
	}
	b.learn("vpn", "a.example.", time.Hour, "8.8.8.8")
	b.stop()
	if got := string(read(t, b, "state/learned")); !strings.Contains(got, "vpn\t8.8.8.8\t") || !strings.Contains(got, "\ta.example.\n") {
		t.Errorf("stored: %q", got)
	}
}

// TestForeignDirectory: neither does a directory, or a pipe without a writer.
func TestForeignDirectory(t *testing.T) {
	for _, make := range []string{"mkdir", "mkfifo"} {
		b := newLab(t)
		sh(t, "mkdir %[1]s/state; %[2]s %[1]s/state/learned", b.dir, make)
		b.start()
		b.learn("vpn", "a.example.", time.Hour, "8.8.8.8", "2606:4700::1")
		b.stop()
		if got := string(read(t, b, "state/learned")); !strings.Contains(got, "vpn\t2606:4700::1\t") {
			t.Errorf("%s: stored: %q", make, got)
		}
		sh(t, "ls -d %s/state/learned.bad; nft delete table inet nameroute", b.dir)
	}
}

// TestDiskFull: a full disk stops nothing, leaves the old file complete, and is logged once.
func TestDiskFull(t *testing.T) {
	b := newLab(t)
	state := filepath.Join(b.dir, "full") // not the state directory, where the controller has a keeper of its own
	sh(t, "mkdir %[1]s; mount -t tmpfs -o size=256k tmpfs %[1]s", state)
	t.Cleanup(func() { sh(t, "umount %s", state) })
	b.start()
	t.Cleanup(b.stop)
	b.learn("vpn", "a.example.", time.Hour, "8.8.8.8")
	k := &keeper{c: b.c, file: filepath.Join(state, "learned"), restored: true}
	if err := k.save(true); err != nil {
		t.Fatal(err)
	}
	sh(t, "dd if=/dev/zero of=%s/filler bs=4k 2>/dev/null || :", state)
	for i := range 3 {
		b.learn("vpn", "a.example.", time.Hour, fmt.Sprintf("8.8.4.%d", i))
		err := k.save(true)
		if err == nil {
			t.Fatal("a full disk takes it")
		}
		if k.report(err); !k.bad {
			t.Error("the failure is not reported")
		}
	}
	if old := string(read(t, b, "full/learned")); strings.Count(old, "vpn\t") != 1 || !strings.Contains(old, "\nend\t1\t") {
		t.Errorf("the old file is not complete:\n%s", old)
	}
	sh(t, "rm %s/filler", state)
	err := k.save(true)
	if k.report(err); k.bad || err != nil || strings.Count(string(read(t, b, "full/learned")), "vpn\t") != 4 {
		t.Errorf("with room again: %v\n%s", err, read(t, b, "full/learned"))
	}
}
