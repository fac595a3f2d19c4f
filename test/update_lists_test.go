package test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nameroute/nameroute/test/netlab"
	"github.com/nameroute/nameroute/test/netlab/wire"
)

const publisher = "lists.publisher.example"

// press is Debian's nginx, which publishes a list in the lab's internet.
type press struct {
	g    *gate
	dir  string
	p    *netlab.Process
	logs string // of those that were ended
}

func newPress(g *gate) *press {
	g.t.Helper()
	netlab.Need(g.t, "nginx")
	p := &press{g: g, dir: filepath.Join(g.Dir, "press")}
	if err := os.MkdirAll(filepath.Join(p.dir, "www"), 0o755); err != nil {
		g.t.Fatal(err)
	}
	p.certify("good")
	p.certify("bad")
	p.start("good")
	return p
}

// certify makes a certificate of its own authority.
func (p *press) certify(name string) {
	p.g.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		p.g.t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{publisher, "lists.example.org"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	cert, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		p.g.t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		p.g.t.Fatal(err)
	}
	p.write("../"+name+".crt", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})))
	p.write("../"+name+".key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})))
}

// start starts nginx. While there is a file "fail" it answers 500, while there is one
// "slow" it sends 40 kB a second.
func (p *press) start(cert string) {
	p.g.t.Helper()
	p.write("../nginx.conf", fmt.Sprintf(`daemon off; master_process off; pid %[1]s/nginx.pid; error_log stderr;
events {}
http {
	access_log /dev/stdout; default_type text/plain; root %[1]s/www;
	client_body_temp_path %[1]s; proxy_temp_path %[1]s; fastcgi_temp_path %[1]s; uwsgi_temp_path %[1]s; scgi_temp_path %[1]s;
	server {
		listen 8443 ssl; listen [::]:8443 ssl; ssl_certificate %[1]s/%[2]s.crt; ssl_certificate_key %[1]s/%[2]s.key;
		if (-f %[1]s/www/fail) { return 500; }
		if (-f %[1]s/www/slow) { set $limit_rate 40k; }
	}
}
`, p.dir, cert))
	p.p = p.g.Internet.Start("nginx", "-c", p.dir+"/nginx.conf", "-e", "stderr")
}

func (p *press) end() {
	p.g.t.Helper()
	p.p.Kill()
	p.logs += p.p.Output()
}

// write replaces a file of the site at once.
func (p *press) write(name, text string) {
	p.g.t.Helper()
	file := filepath.Join(p.dir, "www", name)
	if err := os.WriteFile(file+".new", []byte(text), 0o644); err != nil {
		p.g.t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		p.g.t.Fatal(err)
	}
}

func (p *press) remove(name string) {
	p.g.t.Helper()
	if err := os.Remove(filepath.Join(p.dir, "www", name)); err != nil {
		p.g.t.Fatal(err)
	}
}

var accessLine = regexp.MustCompile(`(?m)^(\S+) - - .*" (\d+) \d+ "-" "nameroute"$`)

// wantServed wants that every request came via one egress, and these answers.
func (p *press) wantServed(egress netlab.Egress, codes ...string) {
	p.g.t.Helper()
	seen := map[string]int{}
	for _, m := range accessLine.FindAllStringSubmatch(p.logs+p.p.Output(), -1) {
		seen[m[2]]++
		from, err := netip.ParseAddr(m[1])
		if err != nil || p.g.Egress(from) != egress {
			p.g.t.Errorf("a request came by %s: %s", p.g.Egress(from), m[0])
		}
	}
	p.g.t.Logf("answers by status: %v", seen)
	for _, c := range codes {
		if seen[c] == 0 {
			p.g.t.Errorf("no answer %s", c)
		}
	}
}

// awaitAnswer waits until some request got such an answer.
func (p *press) awaitAnswer(code string) {
	p.g.t.Helper()
	netlab.Eventually(p.g.t, 10*time.Second, func() error {
		return netlab.Check(strings.Contains(p.p.Output(), `" `+code+" "), "no answer %s:\n%s", code, p.p.Output())
	})
}

// keeper is `nameroute update --daemon` on the box.
type keeper struct {
	g     *gate
	state string
	press *press
	p     *netlab.Process
}

func (k *keeper) start() {
	k.g.t.Helper()
	k.p = k.g.Box.StartEnv([]string{"SSL_CERT_FILE=" + k.press.dir + "/good.crt"}, binary, "update", "--daemon", "--every", "300ms",
		"--config", filepath.Join(k.g.Box.Dir, "lists.yaml"), "--state", k.state, "--run-dir", filepath.Join(k.g.Dir, "box", "keeper"))
	k.g.logs(k.p)
}

// await waits until the updater logs something that it had not logged before.
func (k *keeper) await(text string, do func()) {
	k.g.t.Helper()
	before := strings.Count(k.p.Output(), text)
	do()
	netlab.Eventually(k.g.t, 20*time.Second, func() error {
		return netlab.Check(strings.Count(k.p.Output(), text) > before, "the updater does not log %q:\n%s", text, k.p.Output())
	})
}

// awaitPart waits until a download is under way.
func (k *keeper) awaitPart() {
	k.g.t.Helper()
	file := filepath.Join(k.state, "lists-fetched", ".updater", "news.part")
	netlab.Eventually(k.g.t, 10*time.Second, func() error {
		var size int64
		k.g.Box.Do(func() {
			if info, err := os.Stat(file); err == nil {
				size = info.Size()
			}
		})
		return netlab.Check(size > 0, "no download begins:\n%s", k.p.Output())
	})
}

// sure is how many bytes of a download the updater knows to be on disk.
func (k *keeper) sure() int {
	var meta struct{ Part struct{ Size int } }
	k.g.Box.Do(func() {
		data, err := os.ReadFile(filepath.Join(k.state, "lists-fetched", ".updater", "news.json"))
		if err == nil {
			err = json.Unmarshal(data, &meta)
		}
		if err != nil {
			k.g.t.Error(err)
		}
	})
	return meta.Part.Size
}

// awaitSure waits until the updater has made sure of a part of a download.
func (k *keeper) awaitSure() {
	k.g.t.Helper()
	netlab.Eventually(k.g.t, 10*time.Second, func() error {
		return netlab.Check(k.sure() > 0, "no part of the download is synced to disk:\n%s", k.p.Output())
	})
}

// issue is a list that holds some names and n more.
func issue(n int, names ...string) string {
	return strings.Join(append(names, "newest.example"), "\n") + "\n" + strings.Join(numbered(n, "filler.example"), "\n") + "\n"
}

// A list is fetched through the tunnel, again and again, whatever becomes of the
// server, the disk, the updater and the tunnel; and not one packet of it takes the WAN.
func TestListUpdates(t *testing.T) {
	t.Parallel()
	g := bareGate(t, netlab.Options{GoResolvers: true})
	k := &keeper{g: g, state: g.Box.State(), press: newPress(g)}
	news := filepath.Join(k.state, "lists-fetched", "news")
	g.Box.Sh(fmt.Sprintf("mkdir -p %[1]s; mount -t tmpfs -o size=1m tmpfs %[1]s; mkdir %[1]s/lists-fetched; echo '# nothing yet' >%[2]s", k.state, news))
	g.Box.WriteFiles(netlab.Setup{})
	routes := "lan: [br-lan]\nroutes:\n  vpn: {wireguard: wg0.conf}\nlists:\n"
	g.Box.Write("gateway.yaml", routes+"  mine: {file: mine.txt}\n  news: {file: "+news+"}\n")
	g.Box.Write("lists.yaml", routes+"  news: {url: https://"+publisher+":8443/news.txt, via: vpn, max_shrink: 50%}\n")
	g.Box.Write("Corefile", fmt.Sprintf(". {\n listed mine news\n route vpn\n cache\n upstream vpn %s\n}\n. {\n cache\n upstream wan %s\n}\n",
		g.Plan.World.V4, g.Plan.ISP.V4))
	g.start(quickDown...)
	g.Reset()
	others := g.ask("other.example")

	k.press.write("news.txt", issue(40, "first.example"))
	k.start()
	g.awaitListed("first.example")
	k.await("list updated", func() { k.press.write("news.txt", issue(41, "first.example", "second.example")) })
	g.awaitListed("second.example")
	k.press.awaitAnswer("304")

	k.await("shrinks by", func() { k.press.write("news.txt", issue(3)) })
	k.await("500 Internal Server Error", func() { k.press.write("fail", "") })
	k.await("connection refused", k.press.end)
	k.press.remove("fail")
	k.await("unknown authority", func() { k.press.start("bad") })
	k.press.end()
	k.await("no space left on device", func() {
		k.press.write("news.txt", issue(60_000, "third.example"))
		k.press.start("good")
	})
	g.awaitListed("first.example")
	g.awaitListed("second.example")

	// The server dies in the middle, and has ranges when it is back.
	k.press.write("slow", "")
	k.press.write("news.txt", issue(6000, "third.example"))
	k.awaitPart()
	k.await("the download was interrupted", k.press.end)
	k.press.remove("slow")
	k.await("list updated", func() { k.press.start("good") })
	g.awaitListed("third.example")

	// The updater is killed in the middle, and the next one goes on from there.
	k.press.write("slow", "")
	k.press.write("news.txt", issue(5999, "third.example", "fourth.example"))
	k.awaitSure()
	k.p.Kill()
	sure := k.sure()
	g.awaitListed("third.example")
	k.press.remove("slow")
	k.start()
	g.awaitListed("fourth.example")
	if rest := len(issue(5999, "third.example", "fourth.example")) - sure; !strings.Contains(k.press.p.Output(), fmt.Sprintf(`" 206 %d "`, rest)) {
		t.Errorf("%d bytes were there; the server did not send the other %d:\n%s", sure, rest, k.press.p.Output())
	}

	// Without a tunnel nothing is fetched, and nothing goes by another egress.
	k.await("route vpn is down", func() { g.Tunnel.Silence(true) })
	k.await("list updated", func() {
		k.press.write("news.txt", issue(5999, "third.example", "fifth.example"))
		g.Tunnel.Silence(false)
	})
	g.awaitListed("fifth.example")

	others.wantAllAnswered(g)
	k.press.wantServed(netlab.ViaVPN, "200", "206", "304", "500")
	g.wantNoneClear(g.World.Addresses(publisher).All()...)
	g.wantNoQueryByWAN("publisher.example")
	g.wantAsked(netlab.ViaVPN, g.World.Queries(publisher))
	if out := g.Box.Run(binary, "lists", "--config", filepath.Join(g.Box.Dir, "lists.yaml"), "--state", k.state); !strings.Contains(strings.Join(strings.Fields(out), " "), "news 6002 ") {
		t.Errorf("lists shows:\n%s", out)
	}
}

// A list that is fetched via the WAN stays there, even if its server is listed and its
// addresses are in the tunnel's sets; so does the query for its name.
func TestListUpdateByWAN(t *testing.T) {
	t.Parallel()
	g := bareGate(t, netlab.Options{GoResolvers: true})
	p := newPress(g)
	p.write("news.txt", issue(3))
	g.Box.WriteFiles(netlab.Setup{Listed: []string{"listed.example", "publisher.example"}})
	g.start()
	addrs := g.resolve(publisher)
	g.wantVia(g.Client, netlab.ViaVPN, addrs...)
	g.wantVia(g.Box.Host, netlab.ViaVPN, addrs...)
	g.Reset()
	g.Box.Write("lists.yaml", "lists: {news: {url: https://"+publisher+":8443/news.txt}}\n")
	u := g.Box.StartEnv([]string{"SSL_CERT_FILE=" + p.dir + "/good.crt"}, binary, "update",
		"--config", filepath.Join(g.Box.Dir, "lists.yaml"), "--state", filepath.Join(g.Dir, "fetched"))
	g.logs(u)
	if err := u.Wait(10 * time.Second); err != nil || u.Output() != "news: updated: 4 entries (0 before)\n" {
		t.Errorf("%v: %s", err, u.Output())
	}
	p.wantServed(netlab.ViaWAN, "200")
	g.wantAsked(netlab.ViaWAN, g.World.Queries(publisher))
	// Of the connections that were made before, the last packets may come late.
	if inside := g.Tunnel.Inside(wire.To(addrs...), wire.ToPort(8443)); len(inside) > 0 {
		t.Errorf("%d packets went through the tunnel, the first: %s", len(inside), inside[0])
	}
}

// awaitListed waits until new names below a domain go through the tunnel.
func (g *gate) awaitListed(domain string) {
	g.t.Helper()
	began, n := time.Now(), 0
	netlab.Eventually(g.t, 15*time.Second, func() error {
		n++
		addrs, err := g.Client.Resolve(fmt.Sprintf("n%d-%d.%s", began.UnixMilli(), n, domain))
		if err != nil || len(addrs) != 2 {
			return fmt.Errorf("names below %s: %v, %v", domain, addrs, err)
		}
		egress, err := g.Client.ConnectWithin(addrs[n%2], time.Second)
		return netlab.Check(err == nil && egress == netlab.ViaVPN, "names below %s do not go through the tunnel: %q, %v", domain, egress, err)
	})
}
