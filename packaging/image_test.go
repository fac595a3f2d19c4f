package packaging

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// imageRoot makes what the image holds in a folder, by the Dockerfile's own command.
func imageRoot(t *testing.T, dir, program string) {
	t.Helper()
	text, err := os.ReadFile("../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	_, command, found := strings.Cut(string(text), "\nRUN mkdir -p /root-of-image")
	if !found {
		t.Fatal("the Dockerfile makes its root otherwise")
	}
	command, _, _ = strings.Cut("mkdir -p /root-of-image"+command, "\n\n")
	host(t, "sh", "-ec", strings.ReplaceAll(command, "/root-of-image", dir))
	host(t, "install", "-D", program, dir+"/usr/bin/nameroute")
}

// startParts runs both parts as packaging/compose.yml does: a read-only root, root
// without any capability but these, no new privileges; and asks them for a name.
const startParts = `
mount --bind "$1" "$1" && cd "$1"
for d in run/nameroute run/wireguard var/lib/nameroute tmp; do mount -t tmpfs tmpfs $d; done
mkdir -p proc dev/net && touch dev/net/tun && mount -t proc proc proc && mount --bind /dev/net/tun dev/net/tun
mount -o remount,bind,ro "$1"
ip link set lo up
ip link add br-lan type bridge && ip addr add 192.168.1.1/24 dev br-lan && ip link set br-lan up
ip link add wan0 type veth peer name wan1 && ip addr add 203.0.113.2/24 dev wan0 && ip link set wan0 up && ip link set wan1 up
ip route add default via 203.0.113.1
drop=$(capsh --print | sed -n 's/^Bounding set =//p')
without() { echo "$drop" | tr ',' '\n' | grep -vxE "$1" | paste -sd,; }
capsh --no-new-privs --chroot=. --drop="$(without 'cap_net_admin|cap_net_bind_service')" --shell=/usr/bin/nameroute -- dns & dns=$!
capsh --no-new-privs --chroot=. --drop="$(without cap_net_admin)" --shell=/usr/bin/nameroute -- gateway & gateway=$!
trap 'kill $dns $gateway; wait' EXIT
for i in $(seq 100); do
	[ -S run/nameroute/dns.sock ] && [ -S run/nameroute/gateway.sock ] && ip route show table all | grep -q 'default dev wg0 .*proto 110' && break
	sleep 0.1
done
grep CapEff /proc/$dns/status /proc/$gateway/status
dig +short +time=2 +tries=3 www.example.com @192.168.1.1
nft list set inet nameroute vpn4
sysctl net.ipv4.ip_forward
[ -S run/wireguard/wg0.sock ] && echo the socket is there
touch etc/x 2>&1 || :
`

// What docker itself adds (its seccomp and AppArmor profiles) is not looked at here.
func TestPackageImage(t *testing.T) {
	program := os.Getenv("PACKAGE_PROGRAM")
	if program == "" {
		t.Skip("`make package-test` runs it")
	}
	dir := t.TempDir()
	imageRoot(t, dir, filepath.Join("..", program))
	for _, f := range []string{"gateway.yaml", "mine.txt"} {
		host(t, "cp", "examples/"+f, dir+"/etc/nameroute/")
	}
	write(t, dir+"/etc/nameroute/Corefile", `. {
    listed mine
    route vpn
    hosts {
        93.184.216.34 www.example.com
    }
}
. {
    upstream wan 203.0.113.1
}
`)
	key := strings.TrimSpace(host(t, "wg", "genkey"))
	write(t, dir+"/etc/wireguard/wg0.conf", "[Interface]\nPrivateKey = "+key+"\nAddress = 10.9.0.2/32\n[Peer]\nPublicKey = "+
		strings.TrimSpace(host(t, "wg", "genkey"))+"\nEndpoint = 203.0.113.1:51820\nAllowedIPs = 0.0.0.0/0\n")

	out, err := exec.Command("unshare", "--net", "--mount", "sh", "-ec", startParts, "sh", dir).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{
		"CapEff:\t0000000000001400", "CapEff:\t0000000000001000", "\n93.184.216.34\n", "elements = { 93.184.216.34",
		"net.ipv4.ip_forward = 1", "the socket is there", "Read-only file system",
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}
