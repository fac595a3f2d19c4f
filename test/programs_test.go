package test

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nameroute/nameroute/test/netlab"
	"github.com/nameroute/nameroute/test/netlab/wire"
)

// program runs commands on the box as a program of a class does.
type program struct {
	g    *gate
	as   []string
	name string
}

func (g *gate) programOf(uid, gid int) program {
	netlab.Need(g.t, "setpriv", "bash", "dig")
	// dig opens the resolv.conf of the lab, below a directory of root.
	as := []string{"setpriv", "--reuid", fmt.Sprint(uid), "--regid", fmt.Sprint(gid), "--clear-groups",
		"--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search"}
	return program{g, as, fmt.Sprintf("uid %d gid %d", uid, gid)}
}

// inCgroup is a program of root's in a cgroup.
func (g *gate) inCgroup(dir string) program {
	netlab.Need(g.t, "bash", "dig")
	return program{g, []string{"sh", "-e", "-c", `echo $$ >"$0"/cgroup.procs; exec "$@"`, dir}, dir}
}

func (p program) run(args ...string) (string, error) {
	return p.g.Box.Exec(slices.Concat(p.as, args)...)
}

// via tells by which egress TCP or UDP to an address leaves; an error: by none.
func (p program) via(proto string, to netip.Addr, seconds int) (netlab.Egress, error) {
	script := fmt.Sprintf("exec 3<>/dev/%s/%s/%d; ", proto, to, netlab.EchoPort)
	if proto == "udp" {
		script += "echo ask >&3; "
	}
	out, err := p.run("timeout", fmt.Sprint(seconds), "bash", "-c", script+"dd bs=512 count=1 <&3 2>/dev/null")
	if err != nil {
		return "", err
	}
	source, _, _ := strings.Cut(strings.TrimSpace(out), " ")
	from, err := netip.ParseAddrPort(source)
	if err != nil {
		return "", err
	}
	return p.g.Egress(from.Addr()), nil
}

func (p program) wantVia(want netlab.Egress, addrs ...netip.Addr) {
	p.g.t.Helper()
	for _, a := range addrs {
		for _, proto := range []string{"tcp", "udp"} {
			if egress, err := p.via(proto, a, 10); err != nil || egress != want {
				p.g.t.Errorf("%s to %s over %s: by %q, %v; want %s", p.name, a, proto, egress, err, want)
			}
		}
	}
}

// awaitVia waits until all packets of the program to an address take one egress.
func (p program) awaitVia(want netlab.Egress, to netip.Addr) {
	p.g.t.Helper()
	netlab.Eventually(p.g.t, 60*time.Second, func() error {
		egress, err := p.via("tcp", to, 5)
		return netlab.Check(err == nil && egress == want, "%s to %s: by %q, %v; want %s", p.name, to, egress, err, want)
	})
}

// wantAsked queries names at every resolver that a program may be told, and wants all to be
// asked via one egress.
func (p program) wantAsked(want netlab.Egress, domain string) {
	p.g.t.Helper()
	n := 0
	for _, at := range []string{"127.0.0.1", "127.0.0.53", "::1", p.g.BoxLAN.V4.String(), p.g.Plan.World2.V4.String(), p.g.Plan.World2.V6.String()} {
		for _, how := range []string{"+notcp", "+tcp"} {
			name := fmt.Sprintf("n%d.%s", n, domain)
			n++
			world := p.g.World.Addresses(name)
			out, err := p.run("dig", "+tries=1", "+time=10", "@"+at, how, "+short", name, "A", name, "AAAA")
			if err != nil || out != fmt.Sprintf("%s\n%s\n", world.V4, world.V6) {
				p.g.t.Errorf("%s asks %s %s for %s: %q, %v; want %v", p.name, at, how, name, out, err, world.All())
			}
		}
	}
	p.g.Settle()
	queries := p.g.World.Queries(domain)
	if len(queries) < n {
		p.g.t.Errorf("%d queries below %s reached the resolvers of %s, want at least %d", len(queries), domain, p.name, n)
	}
	p.g.wantAsked(want, queries)
}

// Guarantees 4 and 6, for programs of the box: what a program of a class with a route sends,
// its queries to any resolver included, takes that route whatever its destination, over both
// families; what others send does not. A user that is added later is followed, and without
// an nft table its packets take the route or nothing.
func TestPrograms(t *testing.T) {
	t.Parallel()
	g := bareGate(t, netlab.Options{GoResolvers: true})
	const uid, gid = 54242, 54243
	passwd := filepath.Join(g.Dir, "passwd")
	accounts, err := os.ReadFile("/etc/passwd")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(passwd, accounts, 0o644); err != nil {
		t.Fatal(err)
	}
	g.Box.Run("mount", "--bind", passwd, "/etc/passwd")
	g.Box.WriteFiles(netlab.Setup{Gateway: fmt.Sprintf(`owner: off
clients:
  torrent: {user: [nameroute-torrent], route: vpn}
  backup: {group: [%d], route: wan}
`, gid)})
	g.Box.Write("Corefile", fmt.Sprintf(`. {
    clients torrent
    cache
    upstream vpn %s
}
. {
    clients backup
    cache
    upstream wan %s
}
`, g.Plan.World.V4, g.Plan.ISP.V4)+g.read("Corefile"))
	g.start()
	torrent, backup, other := g.programOf(uid, 54244), g.programOf(54245, gid), g.programOf(54245, 54245)
	plain := g.World.Addresses("plain.other.example").All()
	if err := os.WriteFile(passwd, append(accounts, fmt.Sprintf("nameroute-torrent:x:%d:54244::/:/bin/false\n", uid)...), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, a := range g.World.Addresses("await.other.example").All() {
		torrent.awaitVia(netlab.ViaVPN, a)
	}
	netlab.Eventually(t, 30*time.Second, func() error {
		rules := g.Box.Run("ip", "rule") + g.Box.Run("ip", "-6", "rule")
		return netlab.Check(strings.Count(rules, fmt.Sprintf("uidrange %d-%[1]d", uid)) == 2, "no policy rule of the user:\n%s", rules)
	})
	for i, a := range plain { // the source is the tunnel's before there is a packet
		out := g.Box.Run("ip", []string{"-4", "-6"}[i], "route", "get", a.String(), "uid", fmt.Sprint(uid))
		if !strings.Contains(out, " dev wg0 ") {
			t.Errorf("kernel route of the user: %s", out)
		}
	}

	g.Reset()
	torrent.wantAsked(netlab.ViaVPN, "torrent.other.example")
	torrent.wantVia(netlab.ViaVPN, plain...)
	g.wantNoneClear(plain...)
	g.wantNoQueryByWAN("torrent.other.example")
	other.wantVia(netlab.ViaWAN, plain...)

	listed := g.resolve("www.listed.example")
	other.wantVia(netlab.ViaVPN, listed...)
	g.Reset()
	backup.wantAsked(netlab.ViaWAN, "backup.listed.example")
	backup.wantVia(netlab.ViaWAN, listed...)
	if foreign := g.ISP.Foreign(); len(foreign) > 0 {
		t.Errorf("%d packets left via the WAN with another's source, the first: %s", len(foreign), foreign[0])
	}

	g.p.Kill()
	g.Box.Run("nft", "delete", "table", "inet", "nameroute")
	g.Reset()
	for _, a := range plain {
		for _, proto := range []string{"tcp", "udp"} {
			if egress, err := torrent.via(proto, a, 1); err == nil && egress != netlab.ViaVPN {
				t.Errorf("%s to %s over %s without a table: by %s", torrent.name, a, proto, egress)
			}
		}
	}
	g.Settle()
	if leaked := g.ISP.Clear(wire.To(plain...)); len(leaked) > 0 {
		t.Errorf("%d packets of the user left in the clear without a table, the first: %s", len(leaked), leaked[0])
	}
}

// Guarantee 4, for the programs of cgroups. One that does not exist yet, or any more, nor the slices
// above it, is followed each time that systemd makes them again. A slice that stays is
// known before its services are: what they send takes the route from the first packet.
func TestProgramsOfCgroup(t *testing.T) {
	t.Parallel()
	g := bareGate(t, netlab.Options{GoResolvers: true})
	root := "/run/cgroup"
	if out, err := g.Box.Exec("sh", "-e", "-c", "mkdir "+root+" && mount -t cgroup2 none "+root); err != nil {
		t.Skipf("no cgroup2 here: %v: %s", err, out)
	}
	// As systemd names slices: a-b.slice is below a.slice.
	top := fmt.Sprintf("nameroutetest%d", os.Getpid())
	stays := top + ".slice/" + top + "-stays.slice"
	comes := top + ".slice/" + top + "-comes.slice/" + top + "-comes-p2p.slice"
	service := comes + "/torrent.service"
	if out, err := g.Box.Exec("mkdir", "-p", root+"/"+stays); err != nil {
		t.Skipf("no cgroup can be made here: %v: %s", err, out)
	}
	remove := func(dir string) error { // its last process may still be ending
		_, err := g.Box.Exec("find", root+"/"+dir, "-depth", "-type", "d", "-exec", "rmdir", "{}", "+")
		return err
	}
	t.Cleanup(func() { _ = remove(top + ".slice") })
	g.Box.WriteFiles(netlab.Setup{Gateway: fmt.Sprintf("clients:\n  torrent: {cgroup: [%s, %s], route: vpn}\n", stays, service)})
	g.Box.Write("Corefile", fmt.Sprintf(". {\n    clients torrent\n    cache\n    upstream vpn %s\n}\n", g.Plan.World.V4)+g.read("Corefile"))
	g.start()
	torrent, stay := g.inCgroup(root+"/"+service), g.inCgroup(root+"/"+stays+"/any.service")
	other := g.inCgroup(root + "/" + top + ".slice")
	for n := range 2 {
		domain := fmt.Sprintf("n%d.other.example", n)
		plain := g.World.Addresses("plain." + domain).All()
		g.Reset()
		g.Box.Run("mkdir", root+"/"+stays+"/any.service")
		stay.wantVia(netlab.ViaVPN, plain...)
		stay.wantAsked(netlab.ViaVPN, "stays."+domain)
		g.wantNoneClear(plain...)

		g.Box.Run("mkdir", "-p", root+"/"+service)
		for _, a := range g.World.Addresses("await.other.example").All() {
			torrent.awaitVia(netlab.ViaVPN, a)
		}
		g.Reset()
		torrent.wantAsked(netlab.ViaVPN, domain)
		torrent.wantVia(netlab.ViaVPN, plain...)
		g.wantNoneClear(plain...)
		g.wantNoQueryByWAN(domain)
		other.wantVia(netlab.ViaWAN, plain...)
		for _, dir := range []string{top + ".slice/" + top + "-comes.slice", stays + "/any.service"} {
			netlab.Eventually(t, 30*time.Second, func() error { return remove(dir) })
		}
	}
}
