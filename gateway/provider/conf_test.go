package provider

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/nameroute/nameroute/gateway/pkg/problem"
)

// Keys that are in no use, made for these tests.
const (
	keyOwn  = "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk="
	keyPeer = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg="
	keyTwo  = "TrMvSoP4jYQlY6RIzBgbssQqY3vxI2Pi+y71lOWWXX0="
	keyPSK  = "Wg9J3g8Uo4bpIhyDhS9tKUYu8uTz4UAQ3TDhxPoR6N0="
)

const head = "[Interface]\nPrivateKey = " + keyOwn + "\nAddress = 10.2.0.2/32\n"

const peer = "[Peer]\nPublicKey = " + keyPeer + "\nAllowedIPs = 0.0.0.0/0\nEndpoint = 192.0.2.1:51820\n"

func mustKey(t testing.TB, s string) wgtypes.Key {
	t.Helper()
	k, err := wgtypes.ParseKey(s)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func mustParse(t testing.TB, text string) *Conf {
	t.Helper()
	c, err := Parse("wg0.conf", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func pfx(words ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, w := range words {
		out = append(out, netip.MustParsePrefix(w))
	}
	return out
}

// TestParse reads a file with everything that real ones have.
func TestParse(t *testing.T) {
	text := "\ufeff# a provider's remark\r\n" +
		" [ interface ] # ours\r\n" +
		"privatekey=" + keyOwn + "\r\n" +
		"ADDRESS = 10.2.0.2/24, fd00:2::2/64\r\n" +
		"Address = 10.3.0.2\r\n" +
		"Address = fd00:3::2,\r\n" +
		"DNS = 10.2.0.1, fd00:2::1, corp.example\r\n" +
		"ListenPort = 51820\r\n" +
		"MTU = 1380\r\n" +
		"FwMark = 0xca6c\r\n" +
		"Table = off\r\n" +
		"SaveConfig = true\r\n" +
		"PostUp = iptables -A FORWARD -i %i -j ACCEPT # go\r\n" +
		"\r\n[Peer]\r\n" +
		"PublicKey = " + keyPeer + "\r\n" +
		"PresharedKey = " + keyPSK + "\r\n" +
		"AllowedIPs = 0.0.0.0/0, ::/0\r\n" +
		"AllowedIPs = 10.9.8.7/16\r\n" +
		"Endpoint = vpn-1.example.net:51820 # main\r\n" +
		"PersistentKeepalive = 25\r\n" +
		"[PEER]\r\nPublicKey = " + keyTwo + "\r\nAllowedIPs = 192.0.2.7, 2001:db8::7\r\n" +
		"Endpoint = [2001:db8::1]:443\r\nPersistentKeepalive = off\r\n"
	c := mustParse(t, text)
	if c.PrivateKey != mustKey(t, keyOwn) || c.ListenPort != 51820 || c.MTU != 1380 {
		t.Errorf("key, port or MTU is wrong: port %d mtu %d", c.ListenPort, c.MTU)
	}
	if want := pfx("10.2.0.2/24", "fd00:2::2/64", "10.3.0.2/32", "fd00:3::2/128"); !slices.Equal(c.Addresses, want) {
		t.Errorf("addresses %v, want %v", c.Addresses, want)
	}
	if want := []netip.Addr{netip.MustParseAddr("10.2.0.1"), netip.MustParseAddr("fd00:2::1")}; !slices.Equal(c.DNS, want) {
		t.Errorf("DNS %v, want %v", c.DNS, want)
	}
	if !slices.Equal(c.SearchDomains, []string{"corp.example"}) {
		t.Errorf("search domains %v", c.SearchDomains)
	}
	wantNotes := []string{
		`wg0.conf:10: FwMark: 0xca6c: not used: every tunnel carries the mark of wan`,
		`wg0.conf:11: Table: off: not used: every route has a routing table of its own`,
		`wg0.conf:12: SaveConfig: true: not used: the provider's file is never written`,
	}
	for i, n := range c.Ignored {
		if i >= len(wantNotes) || n.Error() != wantNotes[i] {
			t.Errorf("note %d: %s", i, n)
		}
	}
	if len(c.Ignored) != len(wantNotes) {
		t.Errorf("%d notes, want %d", len(c.Ignored), len(wantNotes))
	}
	if len(c.Peers) != 2 {
		t.Fatalf("%d peers, want 2", len(c.Peers))
	}
	one, two := c.Peers[0], c.Peers[1]
	if one.PublicKey != mustKey(t, keyPeer) || one.PresharedKey != mustKey(t, keyPSK) || one.Line != 15 {
		t.Errorf("first peer's keys or line are wrong: line %d", one.Line)
	}
	if want := pfx("0.0.0.0/0", "::/0", "10.9.0.0/16"); !slices.Equal(one.AllowedIPs, want) {
		t.Errorf("allowed ips %v, want %v", one.AllowedIPs, want)
	}
	if (one.Endpoint != Endpoint{"vpn-1.example.net", 51820}) || one.Keepalive != 25*time.Second {
		t.Errorf("first peer: endpoint %v keepalive %v", one.Endpoint, one.Keepalive)
	}
	if _, ok := one.Endpoint.Addr(); ok {
		t.Error("a name was taken for an address")
	}
	if a, ok := two.Endpoint.Addr(); !ok || a.String() != "[2001:db8::1]:443" || two.Keepalive != KeepaliveOff {
		t.Errorf("second peer: endpoint %v keepalive %v", a, two.Keepalive)
	}
	if want := pfx("192.0.2.7/32", "2001:db8::7/128"); !slices.Equal(two.AllowedIPs, want) {
		t.Errorf("allowed ips %v, want %v", two.AllowedIPs, want)
	}
}

// TestParseAsWgQuick reads what wg-quick(8) and wg(8) take and other readers do not: lists
// with spaces, white space within a value, empty values, other ends of lines, names of ports.
func TestParseAsWgQuick(t *testing.T) {
	plain := mustParse(t, head+"DNS = 10.2.0.1, fd00::1, corp.example\n"+peer)
	for name, text := range map[string]string{
		"spaces":       strings.ReplaceAll(head, "10.2.0.2/32", "10.2.0.2/32 , ") + "DNS = 10.2.0.1 fd00::1\tcorp.example\n" + peer,
		"commas":       head + "DNS = 10.2.0.1,fd00::1,,corp.example,\n" + peer,
		"repeated":     head + "DNS = 10.2.0.1\nDNS=fd00::1\ndns = corp.example\n" + peer,
		"route domain": head + "DNS = 10.2.0.1 fd00::1 ~corp.example ~.\n" + peer,
		"empty values": head + "DNS = 10.2.0.1, fd00::1, corp.example\nMTU =\nTable =\nPostUp =\nPreDown=\nDNS =\nAddress =\n" + peer + "AllowedIPs =\n",
		"CR":           strings.ReplaceAll(head+"DNS = 10.2.0.1, fd00::1, corp.example\n"+peer, "\n", "\r"),
		"CRLF, BOM":    "\ufeff" + strings.ReplaceAll(head+"DNS = 10.2.0.1, fd00::1, corp.example\n"+peer, "\n", "\r\n"),
		"comments":     strings.ReplaceAll(head+"DNS = 10.2.0.1, fd00::1, corp.example\n"+peer, "\n", " # x = y\n"),
		"keys":         strings.NewReplacer("PrivateKey", "private key", "PublicKey", "PUBLICKEY", "AllowedIPs", "allowed IPs", "[Peer]", "[ peer ]").Replace(head + "dns = 10.2.0.1, fd00::1, corp.example\n" + peer),
		"inner spaces": strings.NewReplacer(keyPeer, keyPeer[:20]+" "+keyPeer[20:], "192.0.2.1:51820", "192.0.2.1 : 51820").Replace(head + "DNS = 10.2.0.1, fd00::1, corp.example\n" + peer),
		"no psk":       head + "DNS = 10.2.0.1, fd00::1, corp.example\n" + peer + "PresharedKey = AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n",
		"sections":     "[Interface]\nAddress = 10.2.0.2/32\n" + peer + "[Interface]\nPrivateKey = " + keyOwn + "\nDNS = 10.2.0.1, fd00::1, corp.example\n",
	} {
		c := mustParse(t, text)
		one, want := c.Peers[0], plain.Peers[0]
		if !slices.Equal(c.Addresses, plain.Addresses) || !slices.Equal(c.DNS, plain.DNS) || !slices.Equal(c.SearchDomains, plain.SearchDomains) ||
			c.PrivateKey != plain.PrivateKey || c.MTU != 0 || len(c.Hooks) > 0 || len(c.Peers) != 1 ||
			one.PublicKey != want.PublicKey || one.PresharedKey != want.PresharedKey || one.Endpoint != want.Endpoint || !slices.Equal(one.AllowedIPs, want.AllowedIPs) {
			t.Errorf("%s: %v %v %v, mtu %d, hooks %v, peer %v %v", name, c.Addresses, c.DNS, c.SearchDomains, c.MTU, c.Hooks, one.Endpoint, one.AllowedIPs)
		}
	}
	for text, want := range map[string]Endpoint{
		"[2001:db8::1]:51820": {"2001:db8::1", 51820}, "2001:db8::1:51820": {"2001:db8::1", 51820}, "[192.0.2.1]:1": {"192.0.2.1", 1},
		"[vpn.example.net]:1": {"vpn.example.net", 1}, "vpn.example.net.:domain": {"vpn.example.net.", 53}, "192.0.2.1:domain": {"192.0.2.1", 53},
	} {
		if got := mustParse(t, head+strings.Replace(peer, "192.0.2.1:51820", text, 1)).Peers[0].Endpoint; got != want {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
	}
	if c := mustParse(t, head+"ListenPort = domain\n"+peer); c.ListenPort != 53 {
		t.Errorf("ListenPort = domain: %d", c.ListenPort)
	}
	many := mustParse(t, head+strings.Replace(peer, "0.0.0.0/0", "192.0.2.0/24 198.51.100.0/24,2001:db8::/32", 1))
	if want := pfx("192.0.2.0/24", "198.51.100.0/24", "2001:db8::/32"); !slices.Equal(many.Peers[0].AllowedIPs, want) {
		t.Errorf("allowed ips %v", many.Peers[0].AllowedIPs)
	}
}

// TestParseProblems asserts the exact messages: they are what the user gets.
func TestParseProblems(t *testing.T) {
	const wantEndpoint = `not an endpoint: want host:port, such as vpn.example.net:51820, 192.0.2.1:51820 or [2001:db8::1]:51820`
	const wantPrefix = `not a prefix: want an address with its length, such as 10.2.0.2/32 or fd00::2/128`
	tests := []struct{ name, text, want string }{
		{"empty", "", "wg0.conf:1: no [Interface]: want the file as the provider gave it, with [Interface] and [Peer]"},
		{"no keys", "[Interface]\n[Peer]\n", "wg0.conf:1: PrivateKey: missing: want the key that the provider gave for this tunnel\n" +
			"wg0.conf:1: Address: missing: want the address that the provider gave for this tunnel\n" +
			"wg0.conf:2: PublicKey: missing: want the key of the provider's end"},
		{"no peer", head, "wg0.conf:1: no [Peer]: want the provider's end of the tunnel"},
		{"private key", strings.Replace(head, keyOwn, "hunter2", 1) + peer,
			"wg0.conf:2: PrivateKey: not a WireGuard key: want 44 characters of base64, as `wg genkey` prints them"},
		{"public key in hex", head + strings.Replace(peer, keyPeer, strings.Repeat("ab", 32), 1),
			"wg0.conf:5: PublicKey: not a WireGuard key: want 44 characters of base64, as `wg pubkey` prints them"},
		{"endpoints", head + peer +
			"Endpoint = foo\nEndpoint = vpn.example.net\nEndpoint = 2001:db8::1:nothing\nEndpoint = 192.0.2.300:1\nEndpoint = a:0\nEndpoint = a:65536\nEndpoint = [fe80::1%eth0]:51820\nEndpoint =\nEndpoint = [192.0.2.1:1",
			"wg0.conf:8: Endpoint: foo: " + wantEndpoint + "\n" +
				"wg0.conf:9: Endpoint: vpn.example.net: " + wantEndpoint + "\n" +
				"wg0.conf:10: Endpoint: 2001:db8::1:nothing: " + wantEndpoint + "\n" +
				"wg0.conf:11: Endpoint: 192.0.2.300:1: " + wantEndpoint + "\n" +
				"wg0.conf:12: Endpoint: a:0: " + wantEndpoint + "\n" +
				"wg0.conf:13: Endpoint: a:65536: " + wantEndpoint + "\n" +
				"wg0.conf:14: Endpoint: [fe80::1%eth0]:51820: an address of one link, which WireGuard's interface to the kernel cannot carry: " +
				"want the server's name, or an address that is reached from everywhere\n" +
				"wg0.conf:15: Endpoint: \"\": " + wantEndpoint + "\n" +
				"wg0.conf:16: Endpoint: [192.0.2.1:1: " + wantEndpoint},
		{"comments", head + "; provider\n// remark\n" + peer,
			"wg0.conf:4: \"; provider\": not a setting: want a # before a comment\n" +
				"wg0.conf:5: \"// remark\": not a setting: want a # before a comment"},
		{"numbers", "[Interface]\nListenPort = 70000\nMTU = big\nFwMark = red\n" + head[len("[Interface]\n"):] + peer + "PersistentKeepalive = 70000\n",
			"wg0.conf:2: ListenPort: 70000: out of range: want 0 to 65535\n" +
				"wg0.conf:3: MTU: big: not a whole number: want a number from 576 to 65535\n" +
				"wg0.conf:4: FwMark: red: not a mark: want off or a number, such as 51820 or 0xca6c\n" +
				"wg0.conf:11: PersistentKeepalive: 70000: not an interval: want off or seconds from 0 to 65535"},
		{"prefixes", head + "Address = 10.0.0.0/33, fe80::1%eth0, ::ffff:1.2.3.4\nDNS = 1.1.1, dns_1.example, -/-\n" + peer + "AllowedIPs = all\n",
			"wg0.conf:4: Address: 10.0.0.0/33: " + wantPrefix + "\n" +
				"wg0.conf:4: Address: fe80::1%eth0: " + wantPrefix + "\n" +
				"wg0.conf:4: Address: ::ffff:1.2.3.4: " + wantPrefix + "\n" +
				"wg0.conf:5: DNS: 1.1.1: not a resolver: want a resolver's address or a search domain\n" +
				"wg0.conf:5: DNS: -/-: not a resolver: want a resolver's address or a search domain\n" +
				"wg0.conf:10: AllowedIPs: all: " + wantPrefix},
		{"amnezia", head + "Jc = 4\nJmin = 40\nS1 = 86\nH4 = 4\nI1 = <b 0x00>\n" + peer,
			`wg0.conf:4: Jc: a key of AmneziaWG, which hides WireGuard and needs a server of its kind: want a plain WireGuard file from the provider, or the tunnel made by awg-quick with Table = off, and the route with interface: in place of wireguard:`},
		{"unknown", head + "Adress = 10.0.0.1\nEndpoint = a:1\nColour = red\n" + peer + "MTU = 1400\nAllowedIP = ::/0\n",
			"wg0.conf:4: Adress: unknown key: did you mean Address?\n" +
				"wg0.conf:5: Endpoint: in the wrong section: want it below [Peer]\n" +
				"wg0.conf:6: Colour: unknown key: want PrivateKey, ListenPort, Address, DNS, MTU, FwMark, Table, SaveConfig, PreUp, PostUp, PreDown or PostDown\n" +
				"wg0.conf:11: MTU: in the wrong section: want it below [Interface]\n" +
				"wg0.conf:12: AllowedIP: unknown key: did you mean AllowedIPs?"},
		{"sections", "MTU = 1\n" + head + peer + "[Proxy]\nname = x\n",
			"wg0.conf:1: MTU: before the first section: want it below [Interface] or [Peer]\n" +
				"wg0.conf:9: [Proxy]: unknown section: want [Interface] or [Peer]"},
		{"no value", head + "Address\n" + peer, `wg0.conf:4: Address: not a setting: want KEY = VALUE`},
		{"secret in the wrong place", head + keyPeer + "\nSecret = x " + keyPSK + "\n" + peer,
			"wg0.conf:4: (hidden): unknown key: want PrivateKey, ListenPort, Address, DNS, MTU, FwMark, Table, SaveConfig, PreUp, PostUp, PreDown or PostDown\n" +
				"wg0.conf:5: Secret: unknown key: want PrivateKey, ListenPort, Address, DNS, MTU, FwMark, Table, SaveConfig, PreUp, PostUp, PreDown or PostDown"},
		{"same peer twice", head + peer + peer,
			"wg0.conf:8: PublicKey: is also that of the [Peer] on line 4: want one [Peer] for each key"},
		{"no family", strings.Replace(head, "10.2.0.2/32", "fd00::2", 1) + peer,
			"wg0.conf:1: no address family is usable: want an Address and an AllowedIPs of one family (IPv6 with an MTU of at least 1280)"},
		{"utf-16", "\xff\xfe[\x00", "wg0.conf:1: UTF-16 text: want the file saved as UTF-8"},
		{"too big", strings.Repeat("#\n", maxConfSize), "wg0.conf:1: too big: want a WireGuard file of at most 1048576 bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse("wg0.conf", []byte(tt.text))
			if err == nil {
				t.Fatal("no error")
			}
			if err.Error() != tt.want {
				t.Errorf("got:\n%v\nwant:\n%s", err, tt.want)
			}
			if !errors.As(err, new(problem.Problems)) {
				t.Errorf("%T, want problem.Problems", err)
			}
		})
	}
}

func TestOwnKeyAsPeer(t *testing.T) {
	own := mustKey(t, keyOwn).PublicKey().String()
	_, err := Parse("wg0.conf", []byte(head+strings.Replace(peer, keyPeer, own, 1)))
	const want = "wg0.conf:4: PublicKey: belongs to this file's own PrivateKey: want the key of the provider's end"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestHooks(t *testing.T) {
	c := mustParse(t, head+"PreDown = rm -rf /tmp/x\nPostUp = wg set %i peer "+keyTwo+"\n"+peer)
	if err := c.CheckHooks(true); err != nil {
		t.Errorf("with hooks: ignore: %v", err)
	}
	const why = ": hook commands are not run: routing and firewall are nameroute's own: want the line removed, or hooks: ignore on the route"
	want := `wg0.conf:4: PreDown: "rm -rf /tmp/x"` + why + "\n" + `wg0.conf:5: PostUp: (hidden)` + why
	if err := c.CheckHooks(false); err == nil || err.Error() != want {
		t.Errorf("got:\n%v\nwant:\n%s", err, want)
	}
	if err := mustParse(t, head+peer).CheckHooks(false); err != nil {
		t.Errorf("without hooks: %v", err)
	}
}

func TestFamilies(t *testing.T) {
	tests := []struct {
		address, allowed, extra string
		v4, v6                  bool
	}{
		{"10.0.0.2", "0.0.0.0/0, ::/0", "", true, false},
		{"10.0.0.2, fd00::2", "0.0.0.0/0", "", true, false},
		{"10.0.0.2, fd00::2", "::/0", "", false, true},
		{"10.0.0.2, fd00::2", "0.0.0.0/0, ::/0", "", true, true},
		{"10.0.0.2, fd00::2", "0.0.0.0/0, ::/0", "MTU = 1200\n", true, false},
	}
	for _, tt := range tests {
		c := mustParse(t, "[Interface]\nPrivateKey="+keyOwn+"\nAddress="+tt.address+"\n"+tt.extra+
			"[Peer]\nPublicKey="+keyPeer+"\nAllowedIPs="+tt.allowed)
		if v4, v6 := c.Families(); v4 != tt.v4 || v6 != tt.v6 {
			t.Errorf("%+v: got %v %v", tt, v4, v6)
		}
	}
}

func TestShadowedAllowedIPs(t *testing.T) {
	c := mustParse(t, head+peer+"[Peer]\nPublicKey="+keyTwo+"\nAllowedIPs=0.0.0.0/0\n")
	const want = `wg0.conf:4: AllowedIPs: 0.0.0.0/0: not used here: the [Peer] on line 8 has it too, and the last one gets it`
	if len(c.Ignored) != 1 || c.Ignored[0].Error() != want {
		t.Errorf("got %v, want %s", c.Ignored, want)
	}
}

func TestLoad(t *testing.T) {
	file := filepath.Join(t.TempDir(), "wg0.conf")
	if err := os.WriteFile(file, []byte(head+peer), 0o600); err != nil {
		t.Fatal(err)
	}
	if c, err := Load(file); err != nil || c.File != file || len(c.Peers) != 1 {
		t.Errorf("got %v", err)
	}
	if _, err := Load(file + ".not"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want %v", err, os.ErrNotExist)
	}
}

// FuzzParse: whatever a file holds, it is read or refused with problems that
// name a line, and no message repeats a key.
func FuzzParse(f *testing.F) {
	f.Add(head + peer)
	f.Add(head + "PostUp = wg set x private-key " + keyOwn + "\nJc=1\nTable = " + keyPSK + "\n" + peer)
	f.Add("[Interface]\nAddress=1.2.3.4,,::1/0,%\n[Peer]\nEndpoint=[::]:1\nAllowedIPs=/\n")
	f.Add("[interface\n[]\n=\n= =\nEndpoint=[:1\nFwMark=0x\nDNS=.")
	f.Add("PrivateKey" + keyOwn + "\nEndpoint = " + keyOwn + ":1\n" + keyOwn)
	f.Fuzz(func(t *testing.T, text string) {
		c, err := Parse("f", []byte(text))
		var problems []string
		var all problem.Problems
		switch {
		case errors.As(err, &all):
			for _, p := range all {
				problems = append(problems, p.Error())
				if p.Line < 1 || p.Why == "" {
					t.Errorf("incomplete problem %+v", p)
				}
			}
		case err != nil:
			t.Fatalf("%T: %v", err, err)
		default:
			v4, v6 := c.Families()
			if !v4 && !v6 {
				t.Error("accepted without a usable family")
			}
			for _, n := range append(c.Ignored, c.Hooks...) {
				problems = append(problems, n.Error())
			}
		}
		for _, s := range problems {
			if !utf8Clean(s) || strings.Contains(s, keyOwn[:43]) {
				t.Errorf("message with a key or control characters: %q", s)
			}
		}
	})
}

// utf8Clean reports whether a message can go to a log as it is.
func utf8Clean(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' })
}
