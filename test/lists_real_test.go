package test

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nameroute/nameroute/test/netlab"
)

// realList is the path of a list as its publisher ships it; without it the test is
// skipped, as none of their content is part of the project.
func realList(t *testing.T, name string) string {
	t.Helper()
	dir := os.Getenv("NAMEROUTE_LISTS")
	if dir == "" {
		dir = filepath.Join("..", "..", "shared", "lists")
	}
	file, err := filepath.Abs(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		t.Skipf("no real list %s", file)
	}
	return file
}

// Two real lists in one gateway: names of the one by the first tunnel, of the other
// via the second, all else via the WAN.
func TestRealLists(t *testing.T) {
	t.Parallel()
	gfwlist, china := realList(t, "gfwlist.txt"), realList(t, "accelerated-domains.china.conf")
	g := bareGate(t, netlab.Options{GoResolvers: true, Tunnels: 2})
	g.Box.WriteFiles(netlab.Setup{})
	g.Box.Write("wg1.conf", g.Tunnels[1].Conf(netlab.ConfOptions{}))
	g.Box.Write("mine.txt", "listed.example\n")
	g.Box.Write("gateway.yaml", fmt.Sprintf(`lan: [br-lan]
routes:
  vpn: {wireguard: wg0.conf}
  home: {wireguard: wg1.conf}
lists:
  mine: {file: mine.txt}
  gfwlist: {file: %s}
  china: {file: %s}
`, gfwlist, china))
	g.Box.Write("Corefile", fmt.Sprintf(`. {
    listed mine gfwlist
    route vpn
    cache
    upstream vpn %[1]s
}
. {
    listed china
    route home
    cache
    upstream home %[1]s
}
. {
    cache
    upstream wan %[2]s
}
`, g.Plan.World.V4, g.Plan.ISP.V4))
	began := time.Now()
	g.start()
	t.Logf("first answer through a tunnel after %v; memory: %s", time.Since(began).Round(time.Millisecond), memory(t, g.p.Pid))
	g.Box.AwaitNames("ready.baidu.com", 10*time.Second)
	g.wantEntries("gfwlist", 3000)
	g.wantEntries("china", 100_000)
	g.Reset()
	for name, want := range map[string]netlab.Egress{
		"www.google.com": netlab.ViaVPN, "twitter.com": netlab.ViaVPN, "i.ytimg.com": netlab.ViaVPN, "zh.wikipedia.org": netlab.ViaVPN,
		"www.baidu.com": netlab.ViaTunnel(1), "v.qq.com": netlab.ViaTunnel(1), "item.taobao.com": netlab.ViaTunnel(1), "api.bilibili.com": netlab.ViaTunnel(1),
		"www.example.net": netlab.ViaWAN, "debian.org": netlab.ViaWAN, "notgoogle.com.example": netlab.ViaWAN,
	} {
		addrs := g.resolve(name)
		g.wantVia(g.Client, want, addrs...)
		g.wantAsked(want, g.World.Queries(name))
		if want != netlab.ViaWAN {
			g.wantNoneClear(addrs...)
			g.wantNoQueryByWAN(name)
		}
	}
	var vpn, home []netip.Addr
	vpn, home = g.addresses("www.google.com", "twitter.com"), g.addresses("www.baidu.com", "v.qq.com")
	g.wantLearned("vpn", vpn...)
	g.wantLearned("home", home...)
	g.wantNotLearned("vpn", home...)
	g.wantNotLearned("home", vpn...)
	t.Logf("memory in the end: %s", memory(t, g.p.Pid))
}

// wantEntries wants the process to have logged that it loaded at least so many entries.
func (g *gate) wantEntries(list string, least int) {
	g.t.Helper()
	m := regexp.MustCompile(`list ` + list + `\b[^\n]*?(\d+) (?:entries|on it)`).FindStringSubmatch(g.p.Output())
	if m == nil {
		g.t.Errorf("nothing was logged of list %s:\n%s", list, g.p.Output())
		return
	}
	if n, err := strconv.Atoi(m[1]); err != nil || n < least {
		g.t.Errorf("list %s: %s entries, want at least %d", list, m[1], least)
	}
}

// memory is what the kernel says a process holds now and held at most.
func memory(t *testing.T, pid int) string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "VmRSS:") || strings.HasPrefix(line, "VmHWM:") {
			found = append(found, strings.Join(strings.Fields(line), " "))
		}
	}
	return strings.Join(found, ", ")
}
