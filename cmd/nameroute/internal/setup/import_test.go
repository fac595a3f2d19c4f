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
    listed blocked
    template ANY ANY . {
        rcode NXDOMAIN
    }
}

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
    leases lan
    upstream wan 192.0.2.53
}
`
	if want = strings.ReplaceAll(want, "    cache\n", cacheText); i.corefile != want {
		t.Errorf("Corefile:\n%s\nwant:\n%s", i.corefile, want)
	}
	wantLists := map[string]string{
		"blocked.conf": "server=/ads.example/\n",
		"direct.conf":  "server=/corp.example/\n",
		"tv.conf":      "server=/other.example/\n",
		"vpn.conf":     "server=/cn.google.com/\nserver=/more.example/\nserver=/netflix.com/\n",
		"vpn-2.conf":   "server=/cn.google.com/#\nserver=/google.com/\nserver=/youtube.com/\n",
	}
	for name, want := range wantLists {
		if i.lists[name] != want {
			t.Errorf("%s: %q, want %q", name, i.lists[name], want)
		}
	}
	if len(i.lists) != len(wantLists) || i.names != 8 {
		t.Errorf("%d lists, %d names", len(i.lists), i.names)
	}
	cfg, err := config.Parse("gateway.yaml", []byte(i.gateway))
	if err != nil {
		t.Fatalf("gateway.yaml: %v\n%s", err, i.gateway)
	}
	if tv, _ := cfg.Route("tv"); len(cfg.Routes) != 2 || tv.Egress.Link != "wg1" || len(cfg.Lists) != 5 {
		t.Errorf("gateway.yaml:\n%s", i.gateway)
	}
	var lost []string
	for _, l := range i.lost {
		lost = append(lost, strings.TrimPrefix(l.String(), dir+"/"))
	}
	wantLost := `d.conf:11: "dhcp-range=10.0.0.1,10.0.0.9": ` + reasonDHCP + "\n" +
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

// Every option of a dnsmasq.conf becomes its counterpart or is named with what to do, and no
// name whose queries dnsmasq sent into a tunnel is queried via the WAN.
func TestDnsmasqLosesNothing(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "resolv.conf"), "nameserver 192.0.2.1\nnameserver 127.0.0.1\n")
	write(t, filepath.Join(dir, "more.hosts"), "192.168.1.9 nas nas.lan # disk\nbad line\n")
	for name, c := range map[string]struct {
		conf                string
		core, yaml, printed []string // that are in the files, and in the output
		not                 []string // that are not in the Corefile
	}{
		"set, resolver of the tunnel": {
			"server=/x.example/10.64.0.1@wg0\nipset=/x.example/vpn4\nserver=192.0.2.53\n",
			[]string{"route vpn\n", "upstream vpn 10.64.0.1\n"}, []string{"interface: wg0"}, nil, []string{"upstream wan 10.64.0.1"},
		},
		"set, private resolver": {
			"server=/x.example/10.64.0.1\nnftset=/x.example/4#inet#fw4#vpn4\n",
			[]string{"upstream vpn 10.64.0.1\n"}, nil, nil, []string{"upstream wan 10.64.0.1"},
		},
		"set, program on this box": {
			"server=/x.example/127.0.0.1#5353\nipset=/x.example/vpn\n",
			[]string{"upstream vpn 127.0.0.1:5353\n"}, nil, []string{"whose own queries leave by the WAN"}, []string{"upstream wan 127"},
		},
		"set, no resolver": {
			"ipset=/x.example/vpn\n", []string{"upstream vpn tls://9.9.9.9"}, nil, []string{"route vpn: dnsmasq queried its names by the WAN's resolvers"}, nil,
		},
		"set, the router is the resolver": {
			"server=192.168.1.1\nipset=/x.example/vpn\n", []string{"upstream vpn tls://9.9.9.9", "upstream wan 192.168.1.1"}, nil, []string{"now public ones are queried"}, []string{"upstream vpn 192"},
		},
		"resolver behind an interface": {
			"server=/x.example/10.64.0.1@wg0\nserver=10.9.9.9@tun1\n",
			[]string{"upstream wg0 10.64.0.1\n", "upstream tun1 10.9.9.9\n"}, []string{"interface: wg0", "interface: tun1"}, []string{"route wg0: it is for resolvers"}, []string{"upstream wan"},
		},
		"set beside a resolver behind its interface": {
			"server=10.64.0.1@wg0\nipset=/x.example/vpn\nserver=/x.example/10.64.0.1@wg0\n",
			[]string{"upstream vpn 10.64.0.1\n"}, nil, nil, []string{"upstream wan"},
		},
		"resolv-file": {
			"resolv-file=DIR/resolv.conf\nserver=/x.example/9.9.9.9\n", nil, []string{"wan_resolvers: [192.0.2.1]"}, []string{"resolv-file=DIR/resolv.conf: its resolvers are wan_resolvers"}, nil,
		},
		"resolv-file of DHCP": {
			"resolv-file=/run/none/resolv.conf\nserver=/x.example/9.9.9.9\n", nil, nil, []string{"resolv-file=/run/none/resolv.conf: not read"}, nil,
		},
		"home": {
			"interface=br-lan,lo\ndomain=home.example\nlocal=/lan/\nexpand-hosts\nserver=192.0.2.53\naddn-hosts=DIR/more.hosts\nhost-record=tv,tv.lan,192.168.1.7,fd00::7,300\ncname=films.lan,tv.lan\n",
			[]string{"hosts /etc/hosts {", "192.168.1.7 tv tv.lan", "fd00::7 tv tv.lan", "192.168.1.9 nas nas.lan", "rewrite name exact films.lan. tv.lan. answer auto", "home home.example lan\n"},
			[]string{"lan: [br-lan]"}, []string{"addn-hosts=DIR/more.hosts: hosts reads one file; 1 lines", `"expand-hosts": ` + reasonExpand}, nil,
		},
		"leases": {
			"server=192.0.2.53\ndomain=lan\ndhcp-range=192.168.1.9,192.168.1.99\ndhcp-leasefile=/tmp/dhcp.leases\nno-hosts\naddn-hosts=DIR/more.hosts\n",
			[]string{"leases lan /tmp/dhcp.leases\n", "hosts DIR/more.hosts {"}, nil, []string{"DHCP: leave dnsmasq running", reasonDHCP}, []string{"/etc/hosts"},
		},
		"answers": {
			"address=/ads.example/0.0.0.0\naddress=/bad.example/\naddress=/none.example/#\naddress=/nas.example/192.168.1.9\naddress=/nas.example/fd00::9\nserver=/good.ads.example/9.9.9.9\n",
			[]string{"listed blocked\n    template ANY ANY . {\n        rcode NXDOMAIN", `answer "{{ .Name }} 60 IN A 192.168.1.9"`, `answer "{{ .Name }} 60 IN AAAA fd00::9"`, "rcode NOERROR"}, nil, nil, nil,
		},
		"reverse": {
			"rev-server=192.168.7.0/24,192.168.7.1#5353\nrev-server=10.0.0.0/8,10.0.0.1@wg0\nserver=/x.example/9.9.9.9\n",
			[]string{"192.168.7.0/24 {\nCACHE    upstream wan 192.168.7.1:5353", "10.0.0.0/8 {\nCACHE    upstream wg0 10.0.0.1"}, nil, nil, nil,
		},
		"listeners": {
			"server=192.0.2.53\nserver=/x.example/9.9.9.9\nrev-server=192.168.7.0/24,192.168.7.1\nlisten-address=192.168.1.1,127.0.0.1\nlisten-address=fd00:1::1\nport=5353\n",
			[]string{
				".:5353 {\n    bind 192.168.1.1 127.0.0.1 fd00:1::1\n    listed ", ".:5353 {\n    bind 192.168.1.1 127.0.0.1 fd00:1::1\nCACHE    upstream wan 192.0.2.53",
				"192.168.7.0/24:5353 {\n    bind 192.168.1.1 127.0.0.1 fd00:1::1\nCACHE    upstream wan 192.168.7.1",
			}, nil, nil, nil,
		},
		"listeners of interfaces": {
			"server=192.0.2.53\ninterface=br-lan\nlisten-address=10.0.0.1\nport=53\n",
			[]string{"\n. {\n    bind 10.0.0.1 br-lan lo\n"}, []string{"lan: [br-lan]"}, nil, nil,
		},
		"others": {
			"server=192.0.2.53\ncache-size=1000\nuser=nobody\ntxt-record=a.example,x\nfrobnicate=1\nlisten-address=br-lan\nexcept-interface=wan0\nbogus-nxdomain=192.0.2.9\nport=none\n",
			nil, nil, []string{"cache-size, user", reasonZoneFile, `"frobnicate=1": ` + reasonUnknown, reasonListen, reasonAddress, reasonNoAnswer, reasonPort}, nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			in := strings.NewReplacer("DIR", dir, "CACHE", cacheText).Replace
			file := filepath.Join(t.TempDir(), "d.conf")
			write(t, file, in(c.conf))
			out := filepath.Join(t.TempDir(), "out")
			var printed strings.Builder
			if err := ImportDnsmasq(ImportOptions{Files: []string{file}, Dir: out, Out: &printed}); err != nil {
				t.Fatal(err)
			}
			core, err := os.ReadFile(filepath.Join(out, "Corefile"))
			if err != nil {
				t.Fatal(err)
			}
			gateway, err := os.ReadFile(filepath.Join(out, "gateway.yaml"))
			if err != nil {
				t.Fatal(err)
			}
			for text, want := range map[string][]string{string(core): c.core, string(gateway): c.yaml, printed.String(): c.printed} {
				for _, w := range want {
					if !strings.Contains(text, in(w)) {
						t.Errorf("no %q in:\n%s", in(w), text)
					}
				}
			}
			for _, n := range c.not {
				if strings.Contains(string(core), n) {
					t.Errorf("%q in:\n%s", n, core)
				}
			}
			if _, err := config.Parse("gateway.yaml", gateway); err != nil {
				t.Errorf("gateway.yaml: %v\n%s", err, gateway)
			}
			if _, err := corefile.Parse("Corefile", core); err != nil {
				t.Errorf("Corefile: %v\n%s", err, core)
			}
		})
	}
}

// Whatever a dnsmasq configuration contains, the files that are written parse.
func FuzzImport(f *testing.F) {
	f.Add(strings.ReplaceAll(sampleConf, "conf-dir=DIR/more,*.conf\n", ""))
	f.Add("server=/a.example/#\nserver=/b.a.example/192.0.2.1@wan\nipset=/wan/exclude4,4vpn\nnftset=/x/4#inet#t#\nstop-dns-rebind\nrebind-domain-ok=/x/y/\n")
	f.Add("server=/a.example/192.0.2.1@wAn!\nipset=/b.example/wan_\n")
	f.Add("address=/a.example/192.0.2.1\naddress=/b.a.example/#\nrev-server=10.0.0.0/8,10.0.0.1@wg0\nhost-record=a,192.0.2.1\ncname=b,a\ninterface=br0\nlisten-address=fe80::1%br0,::1\nport=5300\ndomain=lan\nserver=9.9.9.9@wg0\n")
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, "conf-") || strings.Contains(text, "servers-") || strings.Contains(text, "-file") || strings.Contains(text, "addn-") {
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
		if _, err := config.Parse("gateway.yaml", []byte(i.gateway)); err != nil && !strings.Contains(err.Error(), "as derived from the name") {
			t.Errorf("gateway.yaml: %v\n%s", err, i.gateway)
		}
		if core, err := corefile.Parse("Corefile", []byte(i.corefile)); err != nil || len(core.Blocks) != len(i.lists)+len(c.home.reverse)+1 {
			t.Errorf("Corefile: %v\n%s", err, i.corefile)
		}
	})
}
