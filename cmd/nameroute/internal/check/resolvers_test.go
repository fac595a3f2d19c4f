package check

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/exit"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/paths"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/testbox"
)

// A router that ran dnsmasq has only itself in resolv.conf, and nothing else may know a
// resolver: then all names that are on no list get SERVFAIL.
func TestResolvConfThatNamesTheBox(t *testing.T) {
	for _, c := range []struct {
		name, resolvConf, upstream, yaml, dhcpcd string
		code                                     int
		want                                     string
	}{
		{
			name: "itself", resolvConf: "nameserver 127.0.0.1\n", upstream: "wan", code: exit.Host,
			want: "error    names on no list get SERVFAIL: no resolver of the WAN is known: /etc/resolv.conf:1: nameserver 127.0.0.1: is this box, which cannot query itself: set `wan_resolvers: [ADDRESS]` in DIR/gateway.yaml\n",
		},
		{
			name: "its address in the LAN", resolvConf: "# dnsmasq\nnameserver 192.168.7.1\n", upstream: "wan", code: exit.Host,
			want: "error    names on no list get SERVFAIL: no resolver of the WAN is known: /etc/resolv.conf:2: nameserver 192.168.7.1: is this box, which cannot query itself: set `wan_resolvers: [ADDRESS]` in DIR/gateway.yaml\n",
		},
		{
			name: "nothing", upstream: "wan", code: exit.Host,
			want: "error    names on no list get SERVFAIL: no resolver of the WAN is known: /etc/resolv.conf: names no resolver: set `wan_resolvers: [ADDRESS]` in DIR/gateway.yaml\n",
		},
		{
			name: "itself, where the Corefile has addresses", resolvConf: "nameserver 127.0.0.1\n", upstream: "wan 192.0.2.53",
			want: "no errors\n",
		},
		{
			name: "itself, where only a list's server needs one", resolvConf: "nameserver 127.0.0.1\n", upstream: "wan 192.0.2.53",
			yaml: "lists:\n  gfw: {url: \"https://lists.example/gfw.txt\"}\n",
			want: "warning  lists.example cannot be resolved: no resolver of the WAN is known: /etc/resolv.conf:1: nameserver 127.0.0.1: is this box, which cannot query itself: set `wan_resolvers: [ADDRESS]` in DIR/gateway.yaml\n",
		},
		{
			name: "itself, with the remedy", resolvConf: "nameserver 127.0.0.1\n", upstream: "wan", yaml: "wan_resolvers: [192.0.2.53]\n",
			want: "ok       resolvers of the WAN: 192.0.2.53 (DIR/gateway.yaml)\n",
		},
		{
			name: "itself, and a DHCP client knows others", resolvConf: "nameserver 127.0.0.1\n", upstream: "wan", dhcpcd: "nameserver 192.0.2.54\n",
			want: "ok       resolvers of the WAN: 192.0.2.54 (/run/dhcpcd/resolv.conf)\nok       /etc/resolv.conf:1: nameserver 127.0.0.1 is this box and is not queried\n",
		},
		{
			name: "others", resolvConf: "nameserver 192.0.2.53\n", upstream: "wan",
			want: "ok       resolvers of the WAN: 192.0.2.53 (/etc/resolv.conf)\n",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, dir := testbox.New(t), t.TempDir()
			for name, text := range map[string]string{
				"resolv.conf": c.resolvConf, "dhcpcd": c.dhcpcd, "gateway.yaml": "lan: [br-lan]\n" + c.yaml,
				"Corefile": fmt.Sprintf(".:5353 {\n    upstream %s\n}\n", c.upstream),
			} {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			b.Sh("for d in /run /var/lib/dhcp /var/lib/dhclient; do [ ! -d $d ] || mount -t tmpfs tmpfs $d; done; mount --bind " + dir + "/resolv.conf /etc/resolv.conf")
			if c.dhcpcd != "" {
				b.Sh("mkdir /run/dhcpcd && cp " + dir + "/dhcpcd /run/dhcpcd/resolv.conf")
			}
			o := Options{Paths: paths.Paths{Config: filepath.Join(dir, "gateway.yaml"), Corefile: filepath.Join(dir, "Corefile"), State: dir, Run: dir}}
			var out bytes.Buffer
			o.Out = &out
			var err error
			b.Do(func() { err = Files(o) })
			if got := strings.ReplaceAll(out.String(), dir, "DIR"); !strings.Contains(got, c.want) || exit.Code(err) != c.code {
				t.Errorf("exit code %d, want %d; got\n%swant\n%s", exit.Code(err), c.code, got, c.want)
			}
		})
	}
}
