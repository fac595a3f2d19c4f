package test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nameroute/nameroute/test/netlab"
)

// bench is a machine without a network, with nameroute's files in a directory.
type bench struct {
	*netlab.Namespace
	t   *testing.T
	dir string
}

// The files of a gateway in which nothing is wrong.
var rightFiles = map[string]string{
	"wg0.conf": `[Interface]
PrivateKey = YBvVAlSNbBpQNsqVXZcqLJbmKJ9kTHg4c2GRD9NHTXM=
Address = 10.66.0.2/32, fd66::2/128
[Peer]
PublicKey = 26VNzuHXsCrtgPSpHWNRB2/xCKKXKUbwEcfKiBDLJ1k=
AllowedIPs = 0.0.0.0/0, ::/0
Endpoint = 192.0.2.1:51820
`,
	"mine.txt": "listed.example\n",
	"gateway.yaml": `lan: [lan0]
routes:
  vpn:
    wireguard: wg0.conf
lists:
  mine:
    file: mine.txt
`,
	"Corefile": `. {
    listed mine
    route vpn
    cache
    upstream vpn 192.0.2.53
}
. {
    cache
    upstream wan 192.0.2.54
}
`,
}

// newBench makes a machine and its files: the right ones, with those of change in
// their place. A file that is to be missing has no text.
func newBench(t *testing.T, change map[string]string) *bench {
	t.Helper()
	netlab.Need(t, "ip", "nft")
	b := &bench{Namespace: netlab.NewNamespace(t, "box"), t: t, dir: t.TempDir()}
	for name, text := range rightFiles {
		if other, ok := change[name]; ok {
			text = other
		}
		if text != "" {
			b.write(name, text)
		}
	}
	return b
}

func (b *bench) write(name, text string) {
	b.t.Helper()
	if err := os.WriteFile(filepath.Join(b.dir, name), []byte(text), 0o644); err != nil {
		b.t.Fatal(err)
	}
}

// command is nameroute with the bench's files.
func (b *bench) command(args ...string) []string {
	return append(append([]string{binary}, args...), "--config", b.dir+"/gateway.yaml", "--corefile", b.dir+"/Corefile",
		"--state", b.dir+"/state", "--run-dir", b.dir+"/run")
}

// ends runs a command to its end and returns its exit code and what it wrote, with
// the bench's directory left out.
func (b *bench) ends(command ...string) (code int, text string) {
	b.t.Helper()
	out, err := b.Exec(command...)
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		code = exit.ExitCode()
	case err != nil:
		b.t.Fatal(err)
	}
	return code, strings.ReplaceAll(out, b.dir+"/", "")
}

// leftNothing wants that nothing of nameroute is in the kernel.
func (b *bench) leftNothing() {
	b.t.Helper()
	for _, look := range []string{"nft list tables", "ip rule | grep 'proto 110' || :", "ip -6 rule | grep 'proto 110' || :",
		"ip route show table all proto 110", "ip -6 route show table all proto 110", "ip -o link | grep -v ' lo:' || :"} {
		if out := b.Sh(look); strings.TrimSpace(out) != "" {
			b.t.Errorf("%s: %q, want nothing", look, out)
		}
	}
}

// What stops a first start: each by its own exit code, with the place, the word that
// is wrong and what would be right. Nothing has been changed then.
func TestWhatStopsAStart(t *testing.T) {
	t.Parallel()
	for _, c := range wrong {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, c.files)
			code, text := b.ends(b.command("run")...)
			if code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			for _, want := range strings.Split(c.want, "\n") {
				if !strings.Contains(text, want) {
					t.Errorf("it wrote\n%swant\n%s", text, c.want)
					break
				}
			}
			if c.code == 3 || c.code == 4 { // nothing but that and no second message
				if text != "nameroute: "+c.want+"\n" {
					t.Errorf("it wrote\n%swant\nnameroute: %s\n", text, c.want)
				}
			}
			b.leftNothing()
		})
	}
}

// Without the privilege nothing can work, and nothing is tried.
func TestNoPrivilege(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	netlab.Need(t, "setpriv")
	b.Run("chmod", "-R", "a+rwX", b.dir)
	for dir := b.dir; dir != "/" && dir != os.TempDir(); dir = filepath.Dir(dir) {
		b.Run("chmod", "a+rx", dir)
	}
	b.Run("chmod", "a+rx", filepath.Dir(binary), binary)
	unprivileged := []string{"setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"}
	for _, part := range []string{"run", "dns", "gateway"} {
		code, text := b.ends(append(unprivileged, b.command(part)...)...)
		if code != 6 || !strings.Contains(text, "missing privilege: CAP_NET_ADMIN") || !strings.Contains(text, "run it as root, or give it the capability") {
			t.Errorf("%s: exit code %d, want 6; it wrote\n%s", part, code, text)
		}
		b.leftNothing()
	}
}

// A port that is taken: by whom, and what to do about it.
func TestPortTaken(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ at, remedy string }{
		{"127.0.0.1", "set port=0 in dnsmasq's configuration (it remains the DHCP server) and restart it"},
		{"::1", "set port=0 in dnsmasq's configuration"},
	} {
		t.Run(c.at, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, nil)
			netlab.Need(t, "dnsmasq")
			p := b.Start("dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--user=root", "--pid-file=", "--no-resolv", "--no-hosts",
				"--bind-interfaces", "--listen-address="+c.at, "--log-facility=-")
			b.awaitPort(p, 53)
			for _, command := range []string{"run", "check"} {
				code, text := b.ends(b.command(command)...)
				if want := fmt.Sprintf("dnsmasq (process %d)", p.Pid); code != 7 || !strings.Contains(text, want) || !strings.Contains(text, c.remedy) {
					t.Errorf("%s: exit code %d, want 7, %q and %q; it wrote\n%s", command, code, want, c.remedy, text)
				}
				b.leftNothing()
			}
		})
	}
}

// awaitPort waits until a program listens on a port.
func (b *bench) awaitPort(p *netlab.Process, port int) {
	b.t.Helper()
	netlab.Eventually(b.t, 5*time.Second, func() error {
		listening := strings.Contains(b.Run("ss", "-lnut"), fmt.Sprintf(":%d ", port))
		return netlab.Check(listening, "no program listens on port %d:\n%s", port, p.Output())
	})
}

// A second run names the first one, and changes nothing for it. What outlives the first one
// keeps nothing open that was passed on to it.
func TestSecondRun(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	lock := filepath.Join(b.dir, "lock-of-another-program")
	p := b.Start(append([]string{"sh", "-c", `exec 9>"$0"; exec "$@"`, lock}, b.command("run")...)...)
	p.WaitOutput("nameroute: started", 10*time.Second)
	netlab.Eventually(t, 30*time.Second, func() error { return netlab.Check(len(holders(b.Namespace)) == 1, "no holder") })
	if out := b.Sh(fmt.Sprintf("ls -l /proc/%d/fd", holders(b.Namespace)[0])); strings.Contains(out, lock) {
		t.Errorf("the holder has a file that nameroute inherited:\n%s", out)
	}
	for _, part := range []string{"run", "dns", "gateway"} {
		code, text := b.ends(b.command(part)...)
		who := fmt.Sprintf("another nameroute is already running (process %d: ", p.Pid)
		if code != 8 || !strings.Contains(text, who) || !strings.Contains(text, "`nameroute reload` reloads its files, `nameroute down` stops it and removes everything that it made") {
			t.Errorf("%s: exit code %d, want 8; it wrote\n%s", part, code, text)
		}
	}
	if p.Ended() {
		t.Fatalf("the first one ended:\n%s", p.Output())
	}
	if err := p.Stop(); err != nil {
		t.Errorf("the first one ended with %v:\n%s", err, p.Output())
	}
	// The lock went with it, however it ends.
	for range 2 {
		p = b.Start(b.command("run")...)
		p.WaitOutput("nameroute: started", 10*time.Second)
		p.Kill()
	}
}

// `check` prints all problems of both files at once, each with its place; of the
// Corefile, all unknown names and directives of each block.
func TestCheckPrintsAllProblems(t *testing.T) {
	t.Parallel()
	files := swap("Corefile", "listed mine", "listed mien")
	files["Corefile"] = strings.Replace(files["Corefile"], "upstream wan 192.0.2.54", "upstream wna 192.0.2.54", 1)
	files["mine.txt"] = ""
	files["wg0.conf"] = strings.Replace(rightFiles["wg0.conf"], "YBvVAlSN", "short", 1)
	b := newBench(t, files)
	code, text := b.ends(b.command("check")...)
	if code != 4 { // that of the first: what is in the two files comes before what they name
		t.Errorf("exit code %d, want 4", code)
	}
	b.wantLines(text, []string{"error ", "list mine: open mine.txt: no such file or directory"},
		[]string{"error ", "route vpn", "wg0.conf:2", "PrivateKey"},
		[]string{"error ", "Corefile:2 ", `unknown list "mien": did you mean "mine"?`},
		[]string{"error ", "Corefile:9 ", `unknown route "wna": did you mean "wan"?`})

	// With a gateway.yaml that is wrong, too.
	b.write("gateway.yaml", strings.Replace(rightFiles["gateway.yaml"], "wg0.conf", "wg0.conf\n    mtu: big\n    on_dwon: wan", 1))
	b.write("Corefile", strings.Replace(rightFiles["Corefile"], "    cache\n", "    cahce\n", 1))
	code, text = b.ends(b.command("check")...)
	if code != 3 {
		t.Errorf("exit code %d, want 3", code)
	}
	b.wantLines(text, []string{"error ", "gateway.yaml:5:10: routes.vpn.mtu: big"}, []string{"error ", "gateway.yaml:6:5: routes.vpn.on_dwon: unknown key: did you mean on_down?"},
		[]string{"error ", "Corefile:4 ", "Unknown directive 'cahce'"})
	b.leftNothing()

	for name, text := range rightFiles {
		b.write(name, text)
	}
	if code, text := b.ends(b.command("check")...); code != 0 || strings.Contains(text, "error ") {
		t.Errorf("right files: exit code %d, want 0; it wrote\n%s", code, text)
	}
	b.leftNothing()
}

// wantLines wants, for each list of words, a line that has them all.
func (b *bench) wantLines(text string, lines ...[]string) {
	b.t.Helper()
	for _, words := range lines {
		found := slices.ContainsFunc(strings.Split(text, "\n"), func(line string) bool {
			return !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) })
		})
		if !found {
			b.t.Errorf("no line with all of %q in\n%s", words, text)
		}
	}
}
