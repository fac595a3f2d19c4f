package setup

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nameroute/nameroute/corefile"
	"github.com/nameroute/nameroute/gateway/config"
)

const sampleConf = `# home
no-resolv
server=192.0.2.53
server=/google.com/youtube.com/9.9.9.9
server=/cn.google.com/#
server=/corp.example/10.0.0.1#5353
ipset=/google.com/youtube.com/netflix.com/vpn4,vpn6
nftset=/other.example/4#inet#fw4#tv4,6#inet#fw4#tv6
server=/other.example/9.9.9.9@wg1
address=/ads.example/0.0.0.0
dhcp-range=10.0.0.1,10.0.0.9
server=/*foo.example/9.9.9.9
conf-dir=DIR/more,*.conf
`

// cacheText is the cache of each block.
const cacheText = `    cache {
        success 9984 86400 0
        denial 9984 3600 0
        serve_stale 1h verify 1s 30s 30s
    }
`

func TestDnsmasqIsImported(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "more"), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "more", "a.conf"), "ipset=/more.example/vpn4\nconf-file="+dir+"/d.conf\n")
	write(t, filepath.Join(dir, "more", "a.bak"), "ipset=/never.example/vpn4\n")
	write(t, filepath.Join(dir, "d.conf"), strings.ReplaceAll(sampleConf, "DIR", dir))
	i, err := importDnsmasq(filepath.Join(dir, "lists"), filepath.Join(dir, "d.conf"))
	if err != nil {
		t.Fatal(err)
	}
	want := `# Imported from dnsmasq. Check every line.

. {
    listed direct
    cache
    upstream wan 10.0.0.1:5353
}

. {
    listed tv
    route tv
    cache
    upstream tv 9.9.9.9
}

. {
    listed vpn
    route vpn
    cache
    upstream vpn 192.0.2.53
}

. {
    listed vpn-2
    route vpn
    cache
    upstream vpn 9.9.9.9
}

. {
    cache
    upstream wan 192.0.2.53
}
`
	if want = strings.ReplaceAll(want, "    cache\n", cacheText); i.corefile != want {
		t.Errorf("Corefile:\n%s\nwant:\n%s", i.corefile, want)
	}
	wantLists := map[string]string{
		"direct.conf": "server=/corp.example/\n",
		"tv.conf":     "server=/other.example/\n",
		"vpn.conf":    "server=/cn.google.com/\nserver=/more.example/\nserver=/netflix.com/\n",
		"vpn-2.conf":  "server=/cn.google.com/#\nserver=/google.com/\nserver=/youtube.com/\n",
	}
	for name, want := range wantLists {
		if i.lists[name] != want {
			t.Errorf("%s: %q, want %q", name, i.lists[name], want)
		}
	}
	if len(i.lists) != len(wantLists) || i.names != 7 {
		t.Errorf("%d lists, %d names", len(i.lists), i.names)
	}
	cfg, err := config.Parse("gateway.yaml", []byte(i.gateway))
	if err != nil {
		t.Fatalf("gateway.yaml: %v\n%s", err, i.gateway)
	}
	if tv, _ := cfg.Route("tv"); len(cfg.Routes) != 2 || tv.Egress.Link != "wg1" || len(cfg.Lists) != 4 {
		t.Errorf("gateway.yaml:\n%s", i.gateway)
	}
	var lost []string
	for _, l := range i.lost {
		lost = append(lost, strings.TrimPrefix(l.String(), dir+"/"))
	}
	wantLost := `d.conf:10: "address=/ads.example/0.0.0.0": ` + reasonAnswer + "\n" +
		`d.conf:11: "dhcp-range=10.0.0.1,10.0.0.9": ` + reasonUnrelated + "\n" +
		`d.conf:12: "server=/*foo.example/9.9.9.9": ` + reasonWildcard
	if got := strings.Join(lost, "\n"); got != wantLost {
		t.Errorf("lost:\n%s\nwant:\n%s", got, wantLost)
	}
}

func TestImportErrorsNameTheFile(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "none.conf"), "cache-size=1000\n")
	write(t, filepath.Join(dir, "gone.conf"), "conf-file="+dir+"/x\n")
	for name, want := range map[string]string{
		"none.conf": "no line sends a name to a resolver or a set",
		"gone.conf": "open " + dir + "/x: no such file or directory",
		"nope.conf": "open " + dir + "/nope.conf: no such file or directory",
	} {
		file := filepath.Join(dir, name)
		if _, err := importDnsmasq(dir, file); err == nil || err.Error() != "import "+file+": "+want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestResolversOfDnsmasqAreParsed(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.1": "192.0.2.1 ", "192.0.2.1#53": "192.0.2.1 ", "192.0.2.1#5353@wg0": "192.0.2.1:5353 wg0",
		"192.0.2.1@lo":     "192.0.2.1 ",
		"2001:db8::1#5353": "[2001:db8::1]:5353 ", "192.0.2.1@10.0.0.1#99": "192.0.2.1 ",
	} {
		if a, d, ok := parseResolver(in); !ok || a+" "+d != want {
			t.Errorf("%s: %q %q %v", in, a, d, ok)
		}
	}
	for _, bad := range []string{"", "dns.example", "192.0.2.1#x", "fe80::1%eth0", "192.0.2.1@a b", "192.0.2.1@sixteen_is_toolong"} {
		if _, _, ok := parseResolver(bad); ok {
			t.Errorf("%s is a resolver", bad)
		}
	}
}

// Whatever a dnsmasq configuration contains, the files that are written parse.
func FuzzImport(f *testing.F) {
	f.Add(strings.ReplaceAll(sampleConf, "conf-dir=DIR/more,*.conf\n", ""))
	f.Add("server=/a.example/#\nserver=/b.a.example/192.0.2.1@wan\nipset=/wan/exclude4,4vpn\nnftset=/x/4#inet#t#\nstop-dns-rebind\nrebind-domain-ok=/x/y/\n")
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, "conf-") || strings.Contains(text, "servers-") {
			t.Skip("it could read files of this machine")
		}
		c := newDnsmasqConf()
		if err := c.readLines(strings.NewReader(text), "d.conf"); err != nil {
			t.Skip(err)
		}
		i := c.translate("/lists")
		if len(i.lists) == 0 {
			return
		}
		// Which names of routes collide is for check to say.
		if _, err := config.Parse("gateway.yaml", []byte(i.gateway)); err != nil && !strings.Contains(err.Error(), "by the hash of the name") {
			t.Errorf("gateway.yaml: %v\n%s", err, i.gateway)
		}
		if core, err := corefile.Parse("Corefile", []byte(i.corefile)); err != nil || len(core.Blocks) != len(i.lists)+1 {
			t.Errorf("Corefile: %v\n%s", err, i.corefile)
		}
	})
}
