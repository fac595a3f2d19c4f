package setup

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/check"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/exit"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/goldentest"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/hostfs"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/paths"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/testbox"
)

const initWireGuard = "[Interface]\nPrivateKey = yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=\nAddress = 10.9.0.2/32\n%s" +
	"[Peer]\nPublicKey = xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=\nAllowedIPs = %s\nEndpoint = 192.0.2.1:51820\n"

// fresh is a machine on which nameroute has not been set up.
type fresh struct {
	testbox.Box
	o    Options
	root string
}

func newFresh(t *testing.T, files map[string]string) fresh {
	t.Helper()
	b := testbox.New(t)
	dir := t.TempDir()
	f := fresh{b, Options{Paths: paths.Paths{Config: filepath.Join(dir, "etc", "gateway.yaml"), Corefile: filepath.Join(dir, "etc", "Corefile"), State: dir, Run: dir}}, filepath.Join(dir, "root")}
	f.o.root = hostfs.Root(f.root)
	files["/etc/resolv.conf"] = "nameserver 198.51.100.53\n"
	for name, text := range files {
		f.write(name, text)
	}
	f.Sh("mount --bind " + filepath.Join(f.root, "etc/resolv.conf") + " /etc/resolv.conf")
	return f
}

func (f fresh) write(name, text string) {
	f.T.Helper()
	name = filepath.Join(f.root, name)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		f.T.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		f.T.Fatal(err)
	}
}

// init runs Init and returns what it prints.
func (f fresh) init(o Options, answers string) (string, error) {
	f.T.Helper()
	var out bytes.Buffer
	var err error
	o.Paths, o.root, o.In, o.Out = f.o.Paths, f.o.root, strings.NewReader(answers), &out
	f.Do(func() { err = Init(o) })
	return f.clean(out.String()), err
}

// clean replaces the test's directories in a text.
func (f fresh) clean(text string) string {
	text = strings.ReplaceAll(text, f.root, "")
	return strings.ReplaceAll(text, filepath.Dir(f.o.Config), "/etc/nameroute")
}

// written returns the files that Init wrote, one after another.
func (f fresh) written() string {
	f.T.Helper()
	var all strings.Builder
	for _, name := range []string{f.o.Config, f.o.Corefile, filepath.Join(filepath.Dir(f.o.Config), "mine.txt")} {
		text, err := os.ReadFile(name)
		if err != nil {
			text = []byte("not there\n")
		}
		fmt.Fprintf(&all, "--- %s\n%s", filepath.Base(name), f.clean(string(text)))
	}
	return all.String()
}

// check wants that `check` has no problem with what Init wrote, and returns its output.
func (f fresh) check() string {
	f.T.Helper()
	var out bytes.Buffer
	var err error
	f.Do(func() { err = check.Files(check.Options{Paths: f.o.Paths, Out: &out}) })
	if err != nil {
		f.T.Errorf("check has problems with what init wrote:\n%s%s", out.String(), f.written())
	}
	return out.String()
}

func TestInitAsksNothingWithYes(t *testing.T) {
	f := newFresh(t, map[string]string{
		"/etc/wireguard/wg0.conf":    fmt.Sprintf(initWireGuard, "DNS = 10.9.0.1\n", "0.0.0.0/0, ::/0"),
		"/etc/wireguard/office.conf": fmt.Sprintf(initWireGuard, "", "10.0.0.0/8"),
		"/etc/wireguard/bad.conf":    "[Interface]\nPrivateKey = x\n",
		"/etc/ufw/ufw.conf":          "ENABLED=yes\n",

		"/var/lib/misc/dnsmasq.leases": "", "/tmp/dhcp.leases": "", "/run/systemd/system/x": "",
		"/etc/dnsmasq.d/lan.conf": "# domain=no.example\n domain = Home.Example\n",
	})
	f.NFT("table ip filter {\nchain DOCKER { }\n}\n")
	f.IP("link del tun0")
	output, err := f.init(Options{Yes: true}, "")
	if err != nil {
		t.Fatal(err, output)
	}
	goldentest.Compare(t, "init.txt", output+f.written())
	f.check()

	before := f.written()
	if output, err := f.init(Options{Yes: true}, ""); err == nil || f.clean(err.Error()) != "/etc/nameroute/gateway.yaml already exists: nothing written; check it with `nameroute check`" || output != "" {
		t.Errorf("again: %q, %v", output, err)
	}
	if after := f.written(); after != before {
		t.Errorf("the second time changed files:\n%s", after)
	}
	if err := os.Remove(f.o.Config); err != nil {
		t.Fatal(err)
	}
	if _, err := f.init(Options{Yes: true}, ""); err == nil || !strings.Contains(err.Error(), "Corefile already exists") {
		t.Errorf("with a Corefile: %v", err)
	}
	if _, err := os.Stat(f.o.Config); err == nil {
		t.Error("gateway.yaml was written beside a Corefile that was there")
	}
}

func TestInitAsksWhatIsAmbiguous(t *testing.T) {
	f := newFresh(t, map[string]string{
		"/etc/wireguard/a.conf": fmt.Sprintf(initWireGuard, "", "0.0.0.0/0"),
		"/etc/wireguard/b.conf": fmt.Sprintf(initWireGuard, "PostUp = echo\n", "0.0.0.0/0"),
	})
	f.IP("link add lan2 type veth peer name lan2p", "addr add 10.2.0.1/24 dev lan2", "addr add fd00:2::1/64 dev lan2 nodad", "link set lan2 up",
		"route add default via 198.51.100.9 dev isp0 metric 900 onlink")
	f.Sh("echo 'nameserver 127.0.0.1' > " + filepath.Join(f.root, "etc/resolv.conf"))
	list := filepath.Join(f.root, "Gfw List.txt")
	f.write("Gfw List.txt", "example.com\n")
	output, err := f.init(Options{}, "wan0\n\n"+f.root+"/etc/wireguard/b.conf\n"+list+"\n")
	if err != nil {
		t.Fatal(err, output)
	}
	goldentest.Compare(t, "init-asks.txt", output+f.written())
	f.check()
}

// The stub of systemd-resolved can stay on 127.0.0.53: the blocks bind the LAN's address.
func TestInitBindsBesideAStubResolver(t *testing.T) {
	pid := testbox.StubResolver(t)
	f := newFresh(t, map[string]string{})
	output, err := f.init(Options{Yes: true, List: "https://lists.example/gfw.txt"}, "")
	if err != nil {
		t.Fatal(err, output)
	}
	goldentest.Compare(t, "init-stub.txt", strings.ReplaceAll(output, fmt.Sprint("process ", pid), "process 123")+f.written())
	const want = "warning  list gfw: not fetched yet from https://lists.example/gfw.txt: a running nameroute fetches it, or run `nameroute update gfw`\n"
	if output := f.check(); !strings.Contains(output, want) {
		t.Errorf("check says\n%swant %s", output, want)
	}
}

// What cannot be detected or asked for is an error that names the flag.
func TestInitNamesTheMissingFlag(t *testing.T) {
	f := newFresh(t, map[string]string{})
	f.IP("link del tun0")
	for _, c := range []struct {
		prepare string
		flags   Options
		answers string
		want    string
	}{
		{"true", Options{Yes: true}, "", "Tunnel: a provider's WireGuard file, or an interface: none found: set --wireguard"},
		{"true", Options{Yes: true, WireGuard: "/nowhere/wg0.conf"}, "", "/nowhere/wg0.conf: no such file: put the provider's file there, unchanged"},
		{"true", Options{}, "br-lan\n", "Tunnel: a provider's WireGuard file, or an interface: no answer: set --wireguard"},
		{"true", Options{Yes: true, WireGuard: "tun7", LAN: []string{"a name"}}, "", `/etc/nameroute/gateway.yaml:4:7: lan: "a name": ' ' is not allowed in an interface name`},
		{"ip link add br2 type bridge; ip addr add 10.3.0.1/24 dev br2; ip link set br2 up", Options{Yes: true}, "", "LAN interface: found br-lan or br2: choose with --lan"},
		{"ip link del br2; ip link del br-lan", Options{Yes: true}, "", "LAN interface: none found: set --lan"},
	} {
		f.Sh(c.prepare)
		_, err := f.init(c.flags, c.answers)
		if err == nil || f.clean(err.Error()) != c.want || exit.Code(err) != exit.Usage {
			t.Errorf("%+v: got  %v\nwant %s", c.flags, err, c.want)
		}
		if w := f.written(); strings.Count(w, "not there") != 3 {
			t.Errorf("%+v: something was written:\n%s", c.flags, w)
		}
	}
}

// A box without a LAN, as a laptop, has itself for a client.
func TestInitWithoutLAN(t *testing.T) {
	for _, c := range []struct {
		flags   Options
		answers string
	}{{Options{}, "\n\n\n"}, {Options{}, "none\n\n\n"}, {Options{Yes: true, LAN: []string{"none"}}, ""}} {
		f := newFresh(t, map[string]string{"/etc/wireguard/wg7.conf": fmt.Sprintf(initWireGuard, "DNS = 10.9.0.1\n", "0.0.0.0/0")})
		f.IP("link del tun0", "link del br-lan")
		output, err := f.init(c.flags, c.answers)
		if err != nil || !strings.Contains(output, "dig @127.0.0.1 NAME") || !strings.Contains(f.written(), "\nlan: []") {
			t.Errorf("%v, said\n%s%s", err, output, f.written())
		}
		if output := f.check(); !strings.Contains(output, "ok       lan is empty: only this box gets answers\n") {
			t.Errorf("check says\n%s", output)
		}
	}
}

func TestInitWarnsOfWgQuick(t *testing.T) {
	f := newFresh(t, map[string]string{"/etc/wireguard/wg7.conf": fmt.Sprintf(initWireGuard, "", "0.0.0.0/0")})
	f.IP("link del tun0", "link add wg7 type bridge")
	output, err := f.init(Options{Yes: true}, "")
	if want := "     (wg7 is up, probably by wg-quick: systemctl disable --now wg-quick@wg7, or wg-quick down wg7)\n"; err != nil || !strings.Contains(output, want) {
		t.Errorf("%v, said\n%swant %s", err, output, want)
	}
}

func TestLoopbackAddressOfTheHostname(t *testing.T) {
	for hosts, want := range map[string]bool{
		"127.0.0.1 localhost\n127.0.1.1\tbox.lan box\n": true, "::1 localhost box\n": true, "127.0.0.1 localhost # box\n": false,
		"192.168.1.1 box\n": false, "127.0.1.1 boxes\n": false, "": false,
	} {
		if got := loopbackIn(hosts, "box"); got != want {
			t.Errorf("%q: %v, want %v", hosts, got, want)
		}
	}
	if loopbackIn("127.0.0.1 localhost\n", "localhost") {
		t.Error("localhost is what it is")
	}
}

func TestListIsNamedAfterItsFile(t *testing.T) {
	for list, want := range map[string]string{
		"": "mine", "/x/gfwlist.txt": "gfwlist", "https://example.com/dir/Accelerated.China.conf?x=1": "accelerated",
		"https://example.com/": "list", "9.txt": "list", "/x/Мой.txt": "list", "wan.txt": "list",
		"/x/" + strings.Repeat("a", 50): strings.Repeat("a", 32),
	} {
		if got := (choices{list: list}).listName(); got != want {
			t.Errorf("%q: %q, want %q", list, got, want)
		}
	}
}
