package wg

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/nameroute/nameroute/gateway/provider"
	"github.com/nameroute/nameroute/test/netlab"
)

// childEnv makes the test binary hold a tunnel, so that tests can kill it.
const childEnv = "NAMEROUTE_WG_CHILD"

func TestMain(m *testing.M) {
	if link := os.Getenv(childEnv); link != "" {
		os.Exit(child(link))
	}
	netlab.Main(m)
}

const wanMark = 0x7f000000

// child opens the tunnel with the file on stdin, applies it, says so, and stays.
func child(link string) int {
	text, err := io.ReadAll(os.Stdin)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	c, err := provider.Parse(link+".conf", text)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	t, err := Open(link, Options{Alias: Alias("vpn"), Userspace: true})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	endpoints, err := Endpoints(context.Background(), c, Ask{})
	if err == nil {
		_, err = t.Apply(Desired(c, endpoints, wanMark))
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("ready")
	<-t.Gone()
	return 0
}

// run executes a command line and fails the test with its output.
func run(t testing.TB, line string, args ...any) string {
	t.Helper()
	out, err := try(line, args...)
	if err != nil {
		t.Fatalf("%s: %v: %s", fmt.Sprintf(line, args...), err, out)
	}
	return out
}

func try(line string, args ...any) (string, error) {
	words := strings.Fields(fmt.Sprintf(line, args...))
	out, err := exec.Command(words[0], words[1:]...).CombinedOutput()
	return string(out), err
}

// start runs a command until the test ends.
func start(t testing.TB, line string, args ...any) *exec.Cmd {
	t.Helper()
	words := strings.Fields(fmt.Sprintf(line, args...))
	cmd := exec.Command(words[0], words[1:]...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	return cmd
}

// eventually waits until the condition holds.
func eventually(t testing.TB, within time.Duration, what string, ok func() bool) {
	t.Helper()
	netlab.Eventually(t, within, func() error { return netlab.Check(ok(), "%s", what) })
}

// far is the other end of a tunnel, which we did not write: Debian's wireguard-go
// in a namespace of its own, joined to ours by a veth.
//
//	our namespace                      namespace ID
//	    [ID]  192.0.2.1 ------- veth ------- 192.0.2.2  [f-ID]
//	   tunnel 10.9.0.2  ====== WireGuard ====== 10.9.0.1
type far struct {
	id   string
	conf string // the provider's file for our end
	key  wgtypes.Key
	cmd  *exec.Cmd
}

// newFar starts the other end. Its UAPI socket is in the file system and not in the
// namespace, so its id must be unique, and n makes its addresses unique.
func newFar(t testing.TB, id string, n int, extra string) *far {
	t.Helper()
	netlab.Need(t, "ip", "wg", "wireguard-go")
	run(t, "ip netns add %s", id)
	t.Cleanup(func() { try("ip netns del %s", id) })
	run(t, "ip link add v-%s type veth peer name eth0 netns %s", id, id)
	t.Cleanup(func() { try("ip link del v-%s", id) })
	for _, line := range []string{
		"ip addr add 192.0.%[2]d.1/24 dev v-%[1]s", "ip addr add 2001:db8:%[2]d::1/64 dev v-%[1]s nodad", "ip link set v-%[1]s up",
		"ip -n %[1]s addr add 192.0.%[2]d.2/24 dev eth0", "ip -n %[1]s addr add 2001:db8:%[2]d::2/64 dev eth0 nodad",
		"ip -n %[1]s addr add 192.0.%[2]d.3/24 dev eth0",
		"ip -n %[1]s link set eth0 up", "ip -n %[1]s link set lo up",
	} {
		run(t, strings.ReplaceAll(line, "%[2]d", fmt.Sprint(n)), id)
	}
	ours, theirs := newKey(t), newKey(t)
	f := &far{id: id, key: theirs.PublicKey()}
	f.serve(t, ours.PublicKey(), theirs, n)
	f.conf = fmt.Sprintf("[Interface]\nPrivateKey = %s\nAddress = 10.9.%[2]d.2/32, fd09:%[2]d::2/128\n%[5]s\n"+
		"[Peer]\nPublicKey = %[3]s\nAllowedIPs = 0.0.0.0/0, ::/0\nEndpoint = %[4]s\n",
		ours, n, f.key, fmt.Sprintf("192.0.%d.2:51820", n), extra)
	return f
}

func (f *far) serve(t testing.TB, ours, theirs wgtypes.Key, n int) {
	t.Helper()
	f.cmd = start(t, "ip netns exec %s wireguard-go -f f-%s", f.id, f.id)
	eventually(t, 5*time.Second, "wireguard-go starts", func() bool { // wg(8) would delete a socket that is not listened on yet
		conn, err := net.Dial("unix", "/var/run/wireguard/f-"+f.id+".sock")
		if err != nil {
			return false
		}
		conn.Close()
		return true
	})
	file := t.TempDir() + "/key"
	if err := os.WriteFile(file, []byte(theirs.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, "ip netns exec %s wg set f-%s listen-port 51820 private-key %s peer %s allowed-ips 10.9.%d.2/32,fd09:%d::2/128",
		f.id, f.id, file, ours, n, n)
	run(t, "ip -n %s addr add 10.9.%d.1/24 dev f-%s", f.id, n, f.id)
	run(t, "ip -n %s addr add fd09:%d::1/64 dev f-%s nodad", f.id, n, f.id)
	run(t, "ip -n %s link set f-%s up", f.id, f.id)
}

func newKey(t testing.TB) wgtypes.Key {
	t.Helper()
	k, err := wgtypes.GeneratePrivateKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// want is the wish for our end, with literal endpoints resolved.
func (f *far) want(t testing.TB) Want {
	t.Helper()
	c := mustParse(t, f.conf)
	endpoints, err := Endpoints(t.Context(), c, Ask{})
	if err != nil {
		t.Fatal(err)
	}
	return Desired(c, endpoints, wanMark)
}

// open opens and applies a tunnel, and routes the other end's addresses into it.
func (f *far) open(t testing.TB, link string, n int) *Tunnel {
	t.Helper()
	tun := mustOpen(t, link)
	mustApply(t, tun, f.want(t))
	run(t, "ip route replace 10.9.%d.0/24 dev %s", n, link)
	run(t, "ip route replace fd09:%d::/64 dev %s", n, link)
	return tun
}

func mustOpen(t testing.TB, link string) *Tunnel {
	t.Helper()
	return openWith(t, link, Options{Alias: Alias("vpn"), Log: quiet(t)})
}

func openWith(t testing.TB, link string, o Options) *Tunnel {
	t.Helper()
	tun, err := Open(link, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		tun.Close()
		if err := Remove(link); err != nil {
			t.Error(err)
		}
	})
	return tun
}

// quiet logs to the test.
func quiet(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(testWriter{t}, nil))
}

type testWriter struct{ testing.TB }

func (w testWriter) Write(b []byte) (int, error) {
	if w.Context().Err() == nil { // logging after the test has ended panics
		w.Log(strings.TrimSpace(string(b)))
	}
	return len(b), nil
}

func mustApply(t testing.TB, tun *Tunnel, w Want) []string {
	t.Helper()
	changes, err := tun.Apply(w)
	if err != nil {
		t.Fatal(err)
	}
	return changes
}

func mustStatus(t testing.TB, tun *Tunnel) Status {
	t.Helper()
	s, err := tun.Status()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// ping pings both of the peer's addresses in the tunnel. Its patience is over 5 s: WireGuard
// refuses a second handshake within 20 ms of the first, as a flood or for its equal
// timestamp, and the next one comes after REKEY_TIMEOUT.
func ping(n int) error {
	const patience = 15 * time.Second
	return errors.Join(
		echo("ip4:icmp", fmt.Sprintf("10.9.%d.1", n), ipv4.ICMPTypeEcho, 1, patience),
		echo("ip6:ipv6-icmp", fmt.Sprintf("fd09:%d::1", n), ipv6.ICMPTypeEchoRequest, 58, patience))
}

// echo sends ICMP echo requests until there is a reply. One is not enough: the
// kernel makes an IPv6 address of a link that comes up usable a little later.
func echo(network, to string, kind icmp.Type, proto int, within time.Duration) error {
	c, err := net.Dial(network, to)
	if err != nil {
		return err
	}
	defer c.Close()
	buf := make([]byte, 1500)
	for seq, end := 1, time.Now().Add(within); ; seq++ {
		m := icmp.Message{Type: kind, Body: &icmp.Echo{ID: os.Getpid() & 0xffff, Seq: seq, Data: []byte("nameroute")}}
		b, err := m.Marshal(nil) // the kernel fills in the checksum of ICMPv6
		if err != nil {
			return err
		}
		if _, err := c.Write(b); err != nil {
			return err
		}
		c.SetReadDeadline(time.Now().Add(min(within, 300*time.Millisecond)))
		for {
			n, _, err := c.(*net.IPConn).ReadFrom(buf) // Read would leave the IPv4 header on
			if err != nil && time.Now().After(end) {
				return err
			}
			if err != nil {
				break
			}
			if r, err := icmp.ParseMessage(proto, buf[:n]); err == nil &&
				(r.Type == ipv4.ICMPTypeEchoReply || r.Type == ipv6.ICMPTypeEchoReply) {
				return nil
			}
		}
	}
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }
