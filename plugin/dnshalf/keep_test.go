package dnshalf

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nameroute/nameroute/gateway/config"
	"github.com/nameroute/nameroute/gateway/firewall"
	"github.com/nameroute/nameroute/gateway/nft"
	"github.com/nameroute/nameroute/test/netlab"
)

// box is a gateway's files, and the half that is opened on them as a Corefile would.
type box struct {
	t     *testing.T
	dir   string
	half  *Half
	used  *plan
	route map[string]*Route
}

const boxConfig = `routes:
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

func newBox(t *testing.T) *box {
	t.Helper()
	netlab.Need(t, "nft")
	b := &box{t: t, dir: t.TempDir()}
	b.write("gateway.yaml", strings.ReplaceAll(boxConfig, "file: ", "file: "+b.dir+"/"))
	b.write("mine.txt", "a.example\nb.example\n")
	b.write("work.txt", "work.example\n")
	t.Cleanup(func() {
		b.stop()
		sh(t, "nft list tables | sed 's/^/delete /' | nft -f -")
	})
	return b
}

func sh(t testing.TB, format string, args ...any) string {
	t.Helper()
	out, err := exec.Command("sh", "-ec", fmt.Sprintf(format, args...)).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", fmt.Sprintf(format, args...), err, out)
	}
	return string(out)
}

func (b *box) write(name, text string) {
	b.t.Helper()
	file := filepath.Join(b.dir, name)
	// As editors do: whoever looks at it in between must not see half of it.
	if err := os.WriteFile(file+"~", []byte(text), 0o600); err != nil {
		b.t.Fatal(err)
	}
	if err := os.Rename(file+"~", file); err != nil {
		b.t.Fatal(err)
	}
}

// start opens the half for blocks `listed mine; route vpn` and `listed work; route office`.
func (b *box) start() {
	b.t.Helper()
	p := b.plan()
	h, err := open(p, filepath.Join(b.dir, "state"))
	if err != nil {
		b.t.Fatal(err)
	}
	b.half, b.used, b.route = h, p, map[string]*Route{}
	for _, r := range p.routes {
		r.bind(h)
		b.route[r.name] = r
	}
}

func (b *box) plan() *plan {
	b.t.Helper()
	cfg, err := config.Load(filepath.Join(b.dir, "gateway.yaml"))
	if err != nil {
		b.t.Fatal(err)
	}
	p := &plan{file: cfg.File, config: cfg, lists: map[string]bool{"mine": true, "work": true}, listed: map[uintptr]bool{1: true, 2: true},
		blockLists: map[uintptr][]string{1: {"mine"}, 2: {"work"}}}
	for i, name := range []string{"vpn", "office"} {
		if r, ok := cfg.Route(name); ok {
			p.routes = append(p.routes, &Route{name: name, mark: r.Mark, learns: true, block: uintptr(i + 1)})
		}
	}
	return p
}

func (b *box) stop() {
	b.t.Helper()
	if b.half == nil {
		return
	}
	if !b.half.leave(b.used) { // as release does
		b.t.Error("the only plan was not the last")
	}
	if err := b.half.close(); err != nil {
		b.t.Error(err)
	}
	b.half = nil
}

func (b *box) learn(route, name string, life time.Duration, addrs ...string) {
	b.t.Helper()
	if err := b.route[route].Learn(b.t.Context(), name, parseAddrs(addrs), life, life); err != nil {
		b.t.Fatal(err)
	}
}

func parseAddrs(addrs []string) []netip.Addr {
	var all []netip.Addr
	for _, a := range addrs {
		all = append(all, addr(a))
	}
	return all
}

// left is how long the kernel keeps an address; 0 is not at all.
func (b *box) left(route, a string) time.Duration {
	b.t.Helper()
	r, ok := b.half.Config().Route(route)
	if !ok {
		return 0
	}
	elems, err := b.half.kernel.Elements(*pick(firewall.Pair(r), a))
	if err != nil {
		b.t.Fatal(err)
	}
	for _, e := range elems {
		if e.Addr == addr(a) {
			return e.Expires
		}
	}
	return 0
}

func pick(p nft.SetPair, a string) *nft.SetRef {
	if addr(a).Is4() {
		return &p.Set4
	}
	return &p.Set6
}

func about(got, want time.Duration) bool { return got < want+2*time.Second && got > want-5*time.Second }

func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	for began := time.Now(); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Since(began) > 5*time.Second {
			t.Fatal("not within 5 s")
		}
	}
}

// TestReboot: the table is deleted while nobody runs, which is what a reboot does.
// What had not ended is back when open returns, of the routes that there still are.
func TestReboot(t *testing.T) {
	b := newBox(t)
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
	b.write("gateway.yaml", strings.ReplaceAll(strings.Replace(boxConfig, "  office:\n    interface: tun1\n", "", 1), "file: ", "file: "+b.dir+"/"))
	b.start()
	if got := b.left("vpn", "8.8.8.8"); !about(got, 2*time.Hour) {
		t.Errorf("8.8.8.8 lives %v", got)
	}
	if out := sh(t, "nft list sets"); strings.Contains(out, "office") || strings.Contains(out, "9.9.9.9") {
		t.Errorf("of a route that is gone:\n%s", out)
	}
}

func read(t *testing.T, b *box, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(b.dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestForeignState: a file that is not ours stops nothing and is set aside.
func TestForeignState(t *testing.T) {
	b := newBox(t)
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

// TestForeignFolder: a folder, or a pipe that nobody writes to, is in nobody's way either.
func TestForeignFolder(t *testing.T) {
	for _, make := range []string{"mkdir", "mkfifo"} {
		b := newBox(t)
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

// TestKilledWhileStoring: whenever a process is killed, the file is the old one or the
// new one, and never a reason for a message.
func TestKilledWhileStoring(t *testing.T) {
	if os.Getenv("STORE_INTO") != "" {
		all := make([]remembered, 5000)
		for i := range all {
			all[i] = remembered{route: "vpn", addr: netip.AddrFrom4([4]byte{8, 8, byte(i >> 8), byte(i)}), left: time.Hour, names: []string{"a.example."}}
		}
		for {
			if err := replaceLearned(os.Getenv("STORE_INTO"), time.Now(), all); err != nil {
				t.Fatal(err)
			}
		}
	}
	file := filepath.Join(t.TempDir(), "state", "learned")
	for i := range 40 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKilledWhileStoring$")
		cmd.Env = append(os.Environ(), "STORE_INTO="+file)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// The first one must have written once; the others die wherever they are.
		for end := time.Now().Add(5 * time.Second); i == 0 && time.Now().Before(end); time.Sleep(time.Millisecond) {
			if _, err := os.Stat(file); err == nil {
				break
			}
		}
		time.Sleep(time.Duration(20+i) * time.Millisecond)
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // that it was killed
		k := &keeper{file: file}
		if all, err := k.load(time.Now(), time.Hour); err != nil || len(all) != 5000 {
			t.Fatalf("kill %d: %d addresses, %v", i, len(all), err)
		}
	}
	tidy(file)
	if left, err := os.ReadDir(filepath.Dir(file)); err != nil || len(left) != 1 {
		t.Errorf("%d files are left, %v", len(left), err)
	}
}

// TestDiskFull: a full disk stops nothing, leaves the old file whole, and is said once.
func TestDiskFull(t *testing.T) {
	b := newBox(t)
	state := filepath.Join(b.dir, "full") // not the state folder: the half has a keeper of its own there
	sh(t, "mkdir %[1]s; mount -t tmpfs -o size=256k tmpfs %[1]s", state)
	t.Cleanup(func() { sh(t, "umount %s", state) })
	b.start()
	t.Cleanup(b.stop)
	b.learn("vpn", "a.example.", time.Hour, "8.8.8.8")
	k := &keeper{half: b.half, file: filepath.Join(state, "learned")}
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
		if k.say(err); !k.bad {
			t.Error("nobody is told")
		}
	}
	if all, err := k.load(time.Now(), time.Hour); err != nil || len(all) != 1 {
		t.Errorf("the old file is not whole: %v, %v", all, err)
	}
	sh(t, "rm %s/filler", state)
	err := k.save(true)
	if k.say(err); k.bad || err != nil || strings.Count(string(read(t, b, "full/learned")), "vpn\t") != 4 {
		t.Errorf("with room again: %v\n%s", err, read(t, b, "full/learned"))
	}
}
