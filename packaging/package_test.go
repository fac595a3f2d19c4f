package packaging

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The container's world: a client behind br-lan, an ISP behind wan0. 93.184.216.34 is
// the address of a listed name, and the ISP answers for it: a ping that comes back went
// by the wrong way.
const (
	world = `
ip link add br-lan type bridge && ip addr add 192.168.1.1/24 dev br-lan && ip link set br-lan up
ip netns add client && ip link add lan0 type veth peer name eth0 netns client && ip link set lan0 master br-lan up
ip -n client addr add 192.168.1.10/24 dev eth0 && ip -n client link set eth0 up && ip -n client route add default via 192.168.1.1
ip netns add isp && ip link add wan0 type veth peer name eth0 netns isp && ip addr add 203.0.113.2/24 dev wan0 && ip link set wan0 up
ip -n isp addr add 203.0.113.1/24 dev eth0 && ip -n isp link set eth0 up && ip -n isp link set lo up
ip -n isp addr add 93.184.216.34/32 dev lo && ip -n isp route add default via 203.0.113.2
ip route add default via 203.0.113.1`

	files = `
cp /usr/share/doc/nameroute/examples/gateway.yaml /usr/share/doc/nameroute/examples/mine.txt /etc/nameroute/
cat >/etc/nameroute/Corefile <<'END'
. {
    listed mine
    route vpn
    errors
    hosts {
        93.184.216.34 www.example.com
    }
}
. {
    errors
    cache
    upstream wan 203.0.113.1
}
END
mkdir -p -m 700 /etc/wireguard
umask 077
cat >/etc/wireguard/wg0.conf <<END
[Interface]
PrivateKey = $(wg genkey)
Address = 10.9.0.2/32
[Peer]
PublicKey = $(wg genkey | wg pubkey)
Endpoint = 203.0.113.1:51820
AllowedIPs = 0.0.0.0/0, ::/0
END`

	plain       = "ip netns exec client ping -c1 -W1 203.0.113.1"
	wrongEgress = "ip netns exec client ping -c1 -W1 93.184.216.34"
	ask         = "ip netns exec client dig +short +time=2 +tries=2 www.example.com @192.168.1.1"
	learned     = "nft list set inet nameroute vpn4"
	mainPID     = "systemctl show -P MainPID nameroute"
	flush       = "nft flush ruleset; nft delete table inet nameroute"
)

// TestPackage installs the package that `make deb` made, in a Debian that boots, and
// lives through a day with it.
func TestPackage(t *testing.T) {
	deb := os.Getenv("PACKAGE_TEST")
	if deb == "" {
		t.Skip("`make package-test` runs it")
	}
	if os.Getuid() != 0 {
		t.Fatal("needs root")
	}
	c := newContainer(t)
	host(t, "cp", filepath.Join("..", deb), c.root+"/nameroute.deb")

	t.Run("chroot", c.inChroot)
	c.run("systemctl disable systemd-resolved; rm /etc/resolv.conf; systemctl enable nameroute-early && echo net.ipv4.ip_forward=1 >/etc/sysctl.d/forward.conf")
	c.boot()
	for _, step := range []struct {
		name string
		do   func(*testing.T)
	}{
		{"early", c.early}, {"port 53 is taken", c.portTaken}, {"start", c.start}, {"reload", c.reload}, {"crash", c.crash}, {"watchdog", c.watchdog},
		{"by hand", c.byHand}, {"wrong file", c.wrongFile}, {"parts", c.parts}, {"upgrade", c.upgrade},
		{"remove", c.remove}, {"purge", c.purge},
	} {
		if !t.Run(step.name, step.do) {
			return // the next step stands on this one
		}
	}
}

// in has failures counted where they happen.
func (c *container) in(t *testing.T) func() {
	outer := c.t
	c.t = t
	return func() { c.t = outer }
}

func (c *container) inChroot(t *testing.T) {
	defer c.in(t)()
	c.want("dpkg -i /nameroute.deb", "write /etc/nameroute/gateway.yaml")
	c.want("nameroute version", "nameroute ")
	c.want("nameroute check || test $? = 3", "/etc/nameroute/gateway.yaml", "no Corefile: `nameroute init` writes one")
	c.want("id nameroute", "nameroute")
	c.want("man -w nameroute nameroute-run nameroute-down", "nameroute-run.8.gz")
	c.want("systemctl is-enabled nameroute || :", "disabled")
	c.want(`bash -c '. /usr/share/bash-completion/bash_completion; . /usr/share/bash-completion/completions/nameroute; complete -p nameroute'`, "__start_nameroute")
	c.want("nameroute __complete --log-format ''", "text", "json")
}

func (c *container) early(t *testing.T) {
	defer c.in(t)()
	c.want("nft list table inet nameroute_early", "policy drop")
	c.want("sysctl -n net.ipv4.ip_forward", "1") // something else switched it on
	c.run(world)
	c.refuses(plain)
	c.run("ping -c1 -W1 203.0.113.1") // the box's own packets are not held
}

// A machine with systemd-resolved is told what to do, and it is right.
func (c *container) portTaken(t *testing.T) {
	defer c.in(t)()
	c.run(files)
	c.run("systemctl start systemd-resolved")
	c.want("nameroute check || :", "port 53", "systemd-resolve", "DNSStubListener=no in /etc/systemd/resolved.conf")
	c.refuses("systemctl start nameroute")
	c.want("journalctl -u nameroute", "port 53 is in use by another program")
	c.want("systemctl show -p ExecMainStatus nameroute", "ExecMainStatus=7")
	c.run("sed -i 's/^#*DNSStubListener=.*/DNSStubListener=no/' /etc/systemd/resolved.conf && systemctl restart systemd-resolved")
	c.soon("systemctl is-active nameroute") // it has gone on trying
	c.want("nameroute check", "no errors")
	c.run("systemctl stop nameroute systemd-resolved && nameroute down && systemctl start nameroute-early")
}

func (c *container) start(t *testing.T) {
	defer c.in(t)()
	c.want("nameroute check", "no errors")
	c.run("systemctl start nameroute")
	c.want("ps -o user:20= -C nameroute", "nameroute")
	c.want("grep CapEff /proc/$("+mainPID+")/status", "0000000000001404")
	c.want("wg show", "interface: wg0")
	c.soon("! nft list table inet nameroute_early")
	c.run(plain)
	c.run(wrongEgress) // nobody asked for the name yet: the address is like any other
	c.want(ask, "93.184.216.34")
	c.want(learned, "93.184.216.34")
	c.refuses(wrongEgress)
	c.want("sysctl -n net.ipv6.conf.all.forwarding", "1")
}

func (c *container) reload(t *testing.T) {
	defer c.in(t)()
	c.run("systemctl reload nameroute")
	c.run("cp /etc/nameroute/gateway.yaml /tmp/good && echo nonsense: 1 >>/etc/nameroute/gateway.yaml")
	c.refuses("systemctl reload nameroute")
	c.want("journalctl -u nameroute", "/etc/nameroute/gateway.yaml:10:1: nonsense: unknown key")
	c.want("systemctl is-active nameroute", "active")
	c.run("cp /tmp/good /etc/nameroute/gateway.yaml && systemctl reload nameroute")
}

func (c *container) crash(t *testing.T) {
	defer c.in(t)()
	before := c.run(mainPID)
	c.run("systemctl kill -s KILL nameroute")
	c.refuses(flush)
	c.refuses(wrongEgress)
	c.soon("test \"$(" + mainPID + ")\" != '" + strings.TrimSpace(before) + "' && systemctl is-active nameroute")
	c.want(learned, "93.184.216.34")
	c.refuses(wrongEgress)
}

func (c *container) watchdog(t *testing.T) {
	defer c.in(t)()
	c.run("mkdir -p /run/systemd/system/nameroute.service.d && printf '[Service]\nWatchdogSec=2s\n' >/run/systemd/system/nameroute.service.d/quick.conf")
	c.run("systemctl daemon-reload && systemctl restart nameroute && sleep 5")
	c.want("systemctl show -p NRestarts nameroute", "NRestarts=0") // it is fed
	before := strings.TrimSpace(c.run(mainPID))
	c.run("kill -STOP " + before)
	c.soon("test \"$(" + mainPID + ")\" != '" + before + "' && systemctl is-active nameroute")
	c.want("journalctl -u nameroute", "Watchdog timeout")
	c.refuses(wrongEgress)
	c.run("rm -r /run/systemd/system/nameroute.service.d && systemctl daemon-reload && systemctl restart nameroute")
}

// What root does by hand must not lock the unit's user out.
func (c *container) byHand(t *testing.T) {
	defer c.in(t)()
	c.run("systemctl stop nameroute")
	c.refuses(wrongEgress) // a stop opens nothing
	c.refuses(flush)       // to nobody: the holder is a unit of its own
	c.refuses(wrongEgress)
	c.want("systemctl is-active nameroute-hold", "active")
	c.run("systemctl start nameroute")
	c.want("nameroute status || :", "keeps the nft table while nameroute is stopped")
	c.want(learned, "93.184.216.34")
	c.run("systemctl stop nameroute && nameroute down")
	c.run(wrongEgress)
	c.want("systemctl is-active nameroute-hold || :", "inactive")
	c.refuses("nft list table inet nameroute")
	c.run("rm -rf /run/nameroute /var/lib/nameroute; mkdir /run/nameroute; chown nameroute: /run/nameroute; nameroute down")
	c.run("systemctl start nameroute")
	c.run(ask)
	c.refuses(wrongEgress)
}

// A file that is wrong before anything worked is logged once, not every second.
func (c *container) wrongFile(t *testing.T) {
	defer c.in(t)()
	c.run("systemctl stop nameroute && rm -rf /var/lib/nameroute/good && mv /etc/nameroute/gateway.yaml /tmp/good")
	c.refuses("systemctl start nameroute")
	c.want("sleep 3; systemctl show -p NRestarts -p Result -p ExecMainStatus -p ActiveState nameroute", "ExecMainStatus=3", "ActiveState=failed", "NRestarts=0")
	c.run("mv /tmp/good /etc/nameroute/gateway.yaml && systemctl start nameroute")
}

func (c *container) parts(t *testing.T) {
	defer c.in(t)()
	c.run("systemctl start nameroute-dns nameroute-gateway nameroute-update")
	c.want("systemctl is-active nameroute || :", "inactive")
	c.want("for p in $(pidof nameroute); do tr '\\0' ' ' </proc/$p/cmdline; grep CapEff /proc/$p/status; done",
		"nameroute dns CapEff:\t0000000000001404", "nameroute gateway CapEff:\t0000000000001004",
		"nameroute update --daemon CapEff:\t0000000000001000")
	c.want(ask, "93.184.216.34")
	c.refuses(wrongEgress)
	c.run("systemctl restart nameroute-dns && systemctl restart nameroute-gateway")
	c.want("systemctl is-active nameroute-dns nameroute-gateway nameroute-update", "active\nactive\nactive")
	c.refuses(wrongEgress)
	c.run("systemctl start nameroute")
	c.want("systemctl is-active nameroute-dns nameroute-gateway nameroute-update || :", "inactive\ninactive\ninactive")
}

func (c *container) upgrade(t *testing.T) {
	defer c.in(t)()
	before := c.run(mainPID)
	c.run("dpkg -i /nameroute.deb")
	if after := c.run(mainPID); after == before {
		t.Error("an upgrade leaves the old program running")
	}
	c.want("systemctl is-active nameroute", "active")
	c.want(learned, "93.184.216.34")
	c.refuses(wrongEgress)
}

func (c *container) remove(t *testing.T) {
	defer c.in(t)()
	c.run("systemctl enable nameroute")
	c.want("dpkg -r nameroute", "the kill switch stays active")
	c.want("tr '\\0' ' ' </proc/$(pidof nameroute)/cmdline", "nameroute hold")
	c.refuses(flush)
	c.want(learned, "93.184.216.34")
	c.refuses(wrongEgress)
	c.run("test -e /etc/nameroute/gateway.yaml && test -x /var/lib/nameroute-removed/nameroute")
	c.refuses("find /etc/systemd -name 'nameroute*' | grep .")
}

func (c *container) purge(t *testing.T) {
	defer c.in(t)()
	c.run("dpkg -P nameroute")
	c.refuses("nft list table inet nameroute")
	c.refuses("ip rule | grep 'proto 110'")
	c.refuses("ip link show wg0")
	c.run(wrongEgress)
	c.run("test -e /etc/nameroute/gateway.yaml")
	c.refuses("ls -d /var/lib/nameroute /var/lib/nameroute-removed /run/nameroute 2>/dev/null")
	c.want("sysctl -n net.ipv4.ip_forward", "1") // as the system had it
}
