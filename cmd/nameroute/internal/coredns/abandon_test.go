package coredns

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/plugin"
	_ "github.com/coredns/coredns/plugin/auto"
	_ "github.com/coredns/coredns/plugin/dnssec"
	_ "github.com/coredns/coredns/plugin/dnstap"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/file"
	_ "github.com/coredns/coredns/plugin/forward"
	_ "github.com/coredns/coredns/plugin/health"
	_ "github.com/coredns/coredns/plugin/hosts"
	_ "github.com/coredns/coredns/plugin/metrics"
	_ "github.com/coredns/coredns/plugin/pprof"
	_ "github.com/coredns/coredns/plugin/ready"
)

// The directive `fails STAGE` fails there: setup, panic, startup, shutdown. As failsearly it
// stands before all other plugins, else behind them.
func init() {
	for _, name := range []string{"failsearly", "fails"} {
		plugin.Register(name, func(c *caddy.Controller) error {
			c.Next()
			switch c.NextArg(); c.Val() {
			case "setup":
				return c.Err("failed")
			case "panic":
				panic("failed")
			case "startup":
				c.OnStartup(func() error { return fmt.Errorf("failed") })
			case "startuppanic":
				c.OnStartup(func() error { panic("failed") })
			case "end": // the other plugins end all the same
				c.OnStartup(func() error { return fmt.Errorf("failed") })
				c.OnShutdown(func() error { panic("failed") })
			}
			return nil
		})
	}
}

// stock is a Corefile of plugins that begin something in their setup or startup: goroutines,
// sockets, names in registries of the process.
func (b *box) stock(says string, ports [4]int, more string) caddy.Input {
	for name, text := range map[string]string{
		"zone":  "@ 60 IN SOA ns.z.test. m.z.test. 1 60 60 60 60\n@ 60 IN NS ns.z.test.\n",
		"hosts": "192.0.2.1 a.test\n", "zones/db.y.test": "@ 60 IN SOA ns.y.test. m.y.test. 1 60 60 60 60\n@ 60 IN NS ns.y.test.\n",
	} {
		file := filepath.Join(b.dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			b.t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			b.t.Fatal(err)
		}
	}
	text := fmt.Sprintf(`.:%d tls://.:%d {
 bind 127.0.0.1
 tls %[3]s/crt %[3]s/key
 ready 127.0.0.1:%d
 health 127.0.0.1:%d
 pprof 127.0.0.1:%d
 prometheus 127.0.0.1:%d
 errors
 dnstap %[3]s/tap.sock full
 hosts %[3]s/hosts {
  fallthrough
 }
 file %[3]s/zone z.test
 auto y.test {
  directory %[3]s/zones
 }
 forward f.test 127.0.0.1:9
 says %[8]s
}
`, b.dns, b.dot, b.dir, ports[0], ports[1], ports[2], ports[3], says)
	text = strings.Replace(text, " bind", more+"\n bind", 1)
	return caddy.CaddyfileInput{Contents: []byte(text), Filepath: "Corefile", ServerTypeName: "dns"}
}

// freePorts returns ports of TCP that were free a moment ago.
func freePorts(t *testing.T) (ports [4]int) {
	t.Helper()
	for i := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ports[i] = l.Addr().(*net.TCPAddr).Port
	}
	return ports
}

// held describes what this process has of plugins: the functions that their goroutines
// began with, and the ports that are listened on. *forward* ends its goroutines when its
// memory is collected; *dnstap* ends with the first restart that fails (docs/upstream.md).
func held(t *testing.T) string {
	t.Helper()
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	var all []string
	for _, s := range strings.Split(string(stacks), "\n\n") {
		began := regexp.MustCompile(`created by (\S+)`).FindStringSubmatch(s)
		if began != nil && strings.Contains(s, "coredns/plugin/") && !strings.Contains(began[1], "plugin/pkg/proxy.") && !strings.Contains(began[1], "plugin/dnstap.") {
			if strings.Contains(strings.SplitN(s, "\n", 2)[0], "[runnable") {
				began[1] += notYet // it reads what *health* writes at its next start
			}
			all = append(all, began[1])
		}
	}
	for _, file := range []string{"tcp", "udp"} {
		text, err := os.ReadFile("/proc/self/net/" + file)
		if err != nil {
			t.Fatal(err)
		}
		inodes := ownSockets(t)
		for _, line := range strings.Split(string(text), "\n") {
			w := strings.Fields(line)
			if len(w) > 9 && (w[3] == "0A" || w[3] == "07") && inodes[w[9]] {
				all = append(all, file+" "+w[1])
			}
		}
	}
	slices.Sort(all)
	return strings.Join(all, "\n")
}

// notYet marks a goroutine that may not have run.
const notYet = " has not run"

// settled waits until all goroutines of plugins have run, and describes what is held.
func settled(t *testing.T) string {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		if now := held(t); !strings.Contains(now, notYet) {
			return now
		} else if time.Now().After(end) {
			t.Fatalf("goroutines do not run:\n%s", now)
		}
	}
}

// ownSockets returns the inodes of this process's sockets.
func ownSockets(t *testing.T) map[string]bool {
	t.Helper()
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	inodes := map[string]bool{}
	for _, f := range files {
		to, err := os.Readlink("/proc/self/fd/" + f.Name())
		if inode, ok := strings.CutPrefix(to, "socket:["); err == nil && ok {
			inodes[strings.TrimSuffix(inode, "]")] = true
		}
	}
	return inodes
}

// wantHeld waits until the process holds what it held before.
func wantHeld(t *testing.T, before, when string) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		now := held(t)
		if now == before {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s: it holds\n%s\nbefore:\n%s", when, now, before)
		}
	}
}

// A start that fails leaves nothing, at whatever stage it fails: no goroutine, no socket, no
// entry in the registries of plugins. The running configuration goes on with all its plugins.
func TestFailedStartLeavesNothing(t *testing.T) {
	b := newBox(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := taken.Addr().(*net.TCPAddr).Port
	ports := freePorts(t)
	stages := map[string]func([4]int) caddy.Input{
		"the Corefile is cut off": func(p [4]int) caddy.Input {
			in := b.stock("two", p, "").(caddy.CaddyfileInput)
			in.Contents = in.Contents[:len(in.Contents)-3]
			return in
		},
		"two servers with one zone": func(p [4]int) caddy.Input {
			in := b.stock("two", p, "").(caddy.CaddyfileInput)
			return caddy.CaddyfileInput{Contents: append(in.Contents, fmt.Sprintf(".:%d {\n bind 127.0.0.1\n says x\n}\n", b.dns)...), Filepath: "Corefile", ServerTypeName: "dns"}
		},
		"a listener is taken": func(p [4]int) caddy.Input {
			in := b.stock("two", p, "").(caddy.CaddyfileInput)
			return caddy.CaddyfileInput{Contents: append(in.Contents, fmt.Sprintf("q.test:%d {\n bind 127.0.0.1\n says x\n}\n", port)...), Filepath: "Corefile", ServerTypeName: "dns"}
		},
		"the port of health is taken": func(p [4]int) caddy.Input { p[1] = port; return b.stock("two", p, "") },
		"a startup fails in says":     func(p [4]int) caddy.Input { return b.stock("broken", p, "") },
	}
	for _, directive := range []string{"failsearly", "fails"} {
		for _, stage := range []string{"setup", "panic", "startup", "startuppanic", "end"} {
			stages[directive+" "+stage] = func(p [4]int) caddy.Input { return b.stock("two", p, " "+directive+" "+stage) }
		}
	}
	nothing := settled(t)
	for name, in := range stages {
		if i, err := Start(in(ports)); err == nil {
			t.Errorf("%s: it starts", name)
			i.Stop()
		}
		wantHeld(t, nothing, "a first start, "+name)
	}

	i, err := Start(b.stock("one", ports, ""))
	if err != nil {
		t.Fatal(err)
	}
	b.wantHTTP("a start", ports)
	before := settled(t)
	c := b.dial("tcp", b.dot)
	for name, in := range stages {
		for _, p := range [][4]int{ports, freePorts(t), ports} { // the other plugins' ports stay, or change
			if _, err := i.Restart(in(p)); err == nil {
				t.Fatalf("%s: it starts", name)
			}
			wantHeld(t, before, "a restart, "+name)
			b.send(c, "quick")
			b.want(c, "quick", "one")
			b.wantHTTP(name, ports)
		}
		if err := Try(in(ports)); err == nil && strings.HasSuffix(name, "setup") {
			t.Errorf("a check, %s: no error", name)
		}
		wantHeld(t, before, "a check, "+name)
	}

	// Ports that the next configuration does not have are closed.
	other := freePorts(t)
	if i, err = i.Restart(b.stock("two", other, "")); err != nil {
		t.Fatal(err)
	}
	b.send(c, "quick")
	b.want(c, "quick", "two")
	b.wantHTTP("changed ports", other)
	for n, path := range paths {
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", ports[n])); err != nil {
			t.Errorf("%s: its old port is still open: %v", path, err)
		} else {
			l.Close()
		}
	}
	i.Stop()
	wantHeld(t, nothing, "after the stop")
}

// paths are those of the ports of *ready*, *health*, *pprof* and *prometheus*.
var paths = [4]string{"ready", "health", "debug/pprof/cmdline", "metrics"}

// wantHTTP wants that all of them answer.
func (b *box) wantHTTP(when string, ports [4]int) {
	b.t.Helper()
	c := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	for n, path := range paths {
		r, err := c.Get(fmt.Sprintf("http://127.0.0.1:%d/%s", ports[n], path))
		if err != nil {
			b.t.Errorf("%s: %v", when, err)
			continue
		}
		if r.Body.Close(); r.StatusCode != http.StatusOK {
			b.t.Errorf("%s: %s: %s", when, path, r.Status)
		}
	}
}
