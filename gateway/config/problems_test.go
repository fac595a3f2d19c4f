package config

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nameroute/nameroute/gateway/pkg/problem"
)

// All problems of a file are reported at once, in its order.
func TestEveryProblemIsReported(t *testing.T) {
	for _, c := range problemCases {
		t.Run(c.name, func(t *testing.T) {
			config, err := Parse("gateway.yaml", []byte(c.yaml))
			if err == nil || config != nil {
				t.Fatalf("got %+v and the error %v, want only an error", config, err)
			}
			if diff := cmp.Diff(strings.Split(c.want, "\n"), strings.Split(err.Error()+"\n", "\n")); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// Callers get each problem.
func TestProblemsAreReachableByErrorsAs(t *testing.T) {
	_, err := Parse("/etc/gateway.yaml", []byte("wan: a\nwam: b\n"))
	var all problem.Problems
	var first problem.Problem
	if !errors.As(err, &all) || !errors.As(err, &first) || len(all) != 1 {
		t.Fatalf("cannot reach the problems in %v", err)
	}
	want := problem.Problem{File: "/etc/gateway.yaml", Line: 2, Column: 1, Key: "wam", Why: "unknown key", Want: "did you mean wan?"}
	if first != want {
		t.Errorf("got %+v, want %+v", first, want)
	}
}

var problemCases = []struct{ name, yaml, want string }{
	{"every problem at once, in the order of the file", `lan: [br-lan, br-lan, "br*", waytoolonginterface, "a b"]
wam: eth0
wan: br-lan
wan_resolvers: [one.one.one.one, 0.0.0.0, "192.0.2.1:0", "fe80::1", "192.0.2.1:99999", 192.0.2.2, 192.0.2.2, "ff02::1"]
mask: 0x5000
exclude: [198.51.100.7/24, 0.0.0.0/0, nope, "::ffff:192.0.2.0/120", 10.0.0.0/8, 10.0.0.0/8]
priority: 0
set_size: lots
lifetime: {floor: 2d, grace: -5m, ceiling: 0s, ceil: 1h}
owner: "no"
routes:
  vpn:
    wireguard: /etc/wireguard/wg0.conf
    interface: tun0
    on_dwon: block
    on_down: blok
    mark: 0
    table: 254
    priority: 40000
    mtu: 100000
    mtu: 1400
    private: yes
    snat: masq
    hooks: ignor
  VPN2: {interface: tun1}
  wan: {interface: tun1}
  none:
  empty: {wireguard: }
  long: {wireguard: mullvad-se-got-wg-001.conf}
  url: {wireguard: "https://x/y.conf"}
  hop: {next_hop: [192.0.2.1, 192.0.2.2, "fe80::1", "fe80::2%eth0", 127.0.0.1, x], link: wg0, hooks: refuse}
  str: hello
  lst: [a]
  <<: {a: b}
lists:
  a: {}
  b: {file: https://example.com/list.txt}
  c: {file: x, fromat: plain}
  A: {file: x}
lists: {}
`, `gateway.yaml:1:15: lan: br-lan: duplicate
gateway.yaml:1:23: lan: br*: patterns are not supported: want each interface by name
gateway.yaml:1:30: lan: waytoolonginterface: name of 19 bytes: want at most 15
gateway.yaml:1:51: lan: "a b": ' ' is not allowed in an interface name
gateway.yaml:2:1: wam: unknown key: did you mean wan?
gateway.yaml:3:6: wan: br-lan: is also in lan
gateway.yaml:4:17: wan_resolvers: one.one.one.one: not the address of a resolver: want an address, or address:port with an IPv6 address in brackets
gateway.yaml:4:34: wan_resolvers: 0.0.0.0: is the unspecified address: want an address, or address:port with an IPv6 address in brackets
gateway.yaml:4:43: wan_resolvers: 192.0.2.1:0: port 0 is not valid: want an address, or address:port with an IPv6 address in brackets
gateway.yaml:4:58: wan_resolvers: fe80::1: link-local address without an interface: want fe80::1%INTERFACE
gateway.yaml:4:69: wan_resolvers: 192.0.2.1:99999: not the address of a resolver: want an address, or address:port with an IPv6 address in brackets
gateway.yaml:4:99: wan_resolvers: 192.0.2.2: duplicate
gateway.yaml:4:110: wan_resolvers: ff02::1: is a multicast address: want an address, or address:port with an IPv6 address in brackets
gateway.yaml:5:7: mask: 0x5000: not a usable mask: want one run of 2 to 14 bits in 32, such as 0x7f000000
gateway.yaml:6:11: exclude: 198.51.100.7/24: has host bits set: want 198.51.100.0/24
gateway.yaml:6:28: exclude: 0.0.0.0/0: excludes every address: no route would ever be used: want a smaller prefix
gateway.yaml:6:39: exclude: nope: not a prefix or an address: want for example 198.51.100.0/24 or 2001:db8::1
gateway.yaml:6:45: exclude: ::ffff:192.0.2.0/120: is an IPv4-mapped prefix: want it as IPv4
gateway.yaml:6:81: exclude: 10.0.0.0/8: duplicate
gateway.yaml:7:11: priority: 0: out of range: want 1 to 32754
gateway.yaml:8:11: set_size: lots: not a whole number: want a whole number from 1 to 16777216
gateway.yaml:9:19: lifetime.floor: 2d: not a duration: want a number with its unit, such as 90s, 10m or 24h
gateway.yaml:9:30: lifetime.grace: -5m: not a positive duration: want a number with its unit, such as 90s, 10m or 24h
gateway.yaml:9:44: lifetime.ceiling: 0s: not a positive duration: want a number with its unit, such as 90s, 10m or 24h
gateway.yaml:9:48: lifetime.ceil: unknown key: did you mean ceiling?
gateway.yaml:10:8: owner: no: unknown value: want auto or off
gateway.yaml:14:16: routes.vpn.interface: the route has wireguard already: want one of the two
gateway.yaml:15:5: routes.vpn.on_dwon: unknown key: did you mean on_down?
gateway.yaml:16:14: routes.vpn.on_down: blok: unknown value: did you mean block?
gateway.yaml:17:11: routes.vpn.mark: 0: is the mark of unmarked packets
gateway.yaml:18:12: routes.vpn.table: 254: is the kernel's table main: want a table of the route's own
gateway.yaml:19:15: routes.vpn.priority: 40000: out of range: want 1 to 32754
gateway.yaml:20:10: routes.vpn.mtu: 100000: out of range: want 576 to 65535
gateway.yaml:21:5: routes.vpn.mtu: duplicate key, first on line 20: want one
gateway.yaml:22:14: routes.vpn.private: yes: unknown value: want refuse or learn
gateway.yaml:23:11: routes.vpn.snat: masq: unknown value: did you mean masquerade?
gateway.yaml:24:12: routes.vpn.hooks: ignor: unknown value: did you mean ignore?
gateway.yaml:25:3: routes.VPN2: invalid name: want a lower-case letter, then lower-case letters, digits, - or _
gateway.yaml:26:9: routes.wan.interface: unknown key: want prefixes
gateway.yaml:27:3: routes.none: has no egress: want one of wireguard, interface, next_hop or egress
gateway.yaml:28:22: routes.empty.wireguard: has no value: want the path of the provider's .conf file
gateway.yaml:29:21: routes.long.wireguard: mullvad-se-got-wg-001: the file's name is not a valid interface name: want link: long
gateway.yaml:30:20: routes.url.wireguard: https://x/y.conf: is a URL: want the path of the provider's .conf file
gateway.yaml:31:19: routes.hop.next_hop: fe80::1: link-local next hop without an interface: want interface: as well
gateway.yaml:31:31: routes.hop.next_hop: 192.0.2.2: second IPv4 address: want at most one of each family
gateway.yaml:31:53: routes.hop.next_hop: fe80::2%eth0: has a zone: want fe80::2 and interface: eth0
gateway.yaml:31:69: routes.hop.next_hop: 127.0.0.1: is a loopback address: want an address, or one of each family
gateway.yaml:31:80: routes.hop.next_hop: x: not an address: want an address, or one of each family
gateway.yaml:31:90: routes.hop.link: only valid with wireguard
gateway.yaml:31:102: routes.hop.hooks: only valid with wireguard
gateway.yaml:32:8: routes.str: hello: is a single value: want keys such as wireguard:
gateway.yaml:33:8: routes.lst: is a list: want keys such as wireguard:
gateway.yaml:34:3: routes.<<: invalid name: want a lower-case letter, then lower-case letters, digits, - or _
gateway.yaml:36:3: lists.a: has neither file nor url: want the path of the list, or where to fetch it
gateway.yaml:37:13: lists.b.file: https://example.com/list.txt: is a URL: want url: for it instead of file:
gateway.yaml:38:16: lists.c.fromat: unknown key: did you mean format?
gateway.yaml:39:3: lists.A: invalid name: want a lower-case letter, then lower-case letters, digits, - or _
gateway.yaml:40:1: lists: duplicate key, first on line 35: want one
`},
	{"one interface in two roles", `wan: eth0
lan: [eth1]
lifetime: {ceiling: 30m, grace: 45m}
priority: 32000
routes:
  a: {wireguard: /etc/wireguard/a.conf, mark: 0x51000000}
  b: {interface: b, mark: 0x51000000}
  c: {interface: a}
  d: {wireguard: /etc/sub/wireguard/a.conf, table: 7281}
  e: {wireguard: /etc/wireguard/a.conf, link: zz}
  f: {interface: eth1}
  g: {interface: eth0}
  h: {interface: lo}
  i: {next_hop: 192.0.2.1, interface: eth0}
  j: {next_hop: 192.0.2.1, interface: eth1}
`, `gateway.yaml:3:11: lifetime.floor: 1h (the default) is above the ceiling of 30m
gateway.yaml:3:33: lifetime.grace: 45m is not below the ceiling of 30m
gateway.yaml:7:27: routes.b.mark: 0x51000000: is also the mark of route a on line 6: want for example 0x52000000
gateway.yaml:8:18: routes.c.interface: a: is also the interface of route a on line 6
gateway.yaml:9:18: routes.d.wireguard: a: is also the interface of route a on line 6: want another name in link:
gateway.yaml:10:18: routes.e.wireguard: /etc/wireguard/a.conf: is also the file of route a on line 6: want a file with a key of its own
gateway.yaml:11:18: routes.f.interface: eth1: is also in lan
gateway.yaml:12:18: routes.g.interface: eth0: is also the WAN: want next_hop: for another router on its network; names for the WAN need no route
gateway.yaml:13:18: routes.h.interface: lo: is the loopback interface
gateway.yaml:14:3: routes.i.mark: 0x51000000: is also the mark of route a on line 6, as derived from the name: want for example 0x53000000
gateway.yaml:14:39: routes.i.interface: eth0: is also the interface of route g on line 12
gateway.yaml:15:39: routes.j.interface: eth1: is also in lan
gateway.yaml:15:39: routes.j.interface: eth1: is also the interface of route f on line 11
`},
	{"tables and priorities", `priority: 7300
routes:
  a: {wireguard: a.conf, mark: 0x51000000, table: 7327, priority: 7300}
  b: {interface: b, mark: 0x52000000, table: 7281}
  c: {interface: c, mark: 0x53000000, priority: 7427}
  d: {interface: d, mark: 0x54000000, priority: 7385}
  e: {interface: e, mark: 0x55000000}
`, `gateway.yaml:3:51: routes.a.table: 7327: is also the table of wan: want another table
gateway.yaml:3:67: routes.a.priority: 7300: not after the first policy rule: want 7301 to 32754
gateway.yaml:5:49: routes.c.priority: 7427: is also the priority of wan: want another priority
gateway.yaml:7:3: routes.e.priority: 7385: is also the priority of route d on line 6, as derived from the mark: want another priority
`},
	{"marks", `routes:
  a: {wireguard: a.conf, mark: 0x7f000000}
  b: {interface: b, mark: 0x80000000}
  r8: {interface: c, mark: 0x8000000}
  vpn: {interface: d}
`, `gateway.yaml:2:32: routes.a.mark: 0x7f000000: is also the mark of wan: want for example 0x2000000
gateway.yaml:3:27: routes.b.mark: 0x80000000: has bits outside the mask 0x7f000000: want for example 0xe000000
gateway.yaml:5:3: routes.vpn.mark: 0x8000000: is also the mark of route r8 on line 4, as derived from the name: want for example 0x9000000
`},
	{"an unclosed list", `wan: auto
lan: [br-lan
routes: {}
`, `gateway.yaml:2: not YAML: did not find expected ',' or ']'
`},
	{"tabs", `routes:
  vpn:
	wireguard: x
`, `gateway.yaml:3: not YAML: found character that cannot start any token: indent with spaces, not tabs
`},
	{"an unclosed quote", "lan: \"x\n", `gateway.yaml:2: not YAML: found unexpected end of stream
`},
	{"an unknown anchor", "wan: *x\n", `gateway.yaml:1: not YAML: unknown anchor 'x' referenced
`},
	{"a control character", "wan: eth0\nlan: \x00\n", `gateway.yaml:2:6: not YAML: control characters are not allowed
`},
	{"Latin-1", "wan: auto\n# r\xe9seau\n", `gateway.yaml:2:4: not UTF-8 text
`},
	{"two documents", `wan: eth0
---
wan: eth1
`, `gateway.yaml:3:1: second document: want one
`},
	{"a broken second document", `wan: eth0
---
wan: [
`, `gateway.yaml:4: not YAML: did not find expected node content
`},
	{"a list", "- a\n", `gateway.yaml:1:1: is a list: want keys such as lan:
`},
	{"a word", "hello\n", `gateway.yaml:1:1: hello: is a single value: want keys such as lan:
`},
	{"a tag", `wan: !foo x
lan: !!foo x
`, `gateway.yaml:1:6: wan: x: has the tag !foo: want auto, the name of an interface, or several such as [wan0, wan1]
gateway.yaml:2:6: lan: x: has the tag !!foo: want the name of an interface
`},
	{"a key that is a list", `? [a]
: b
`, `gateway.yaml:1:3: a key must be a single value
`},
	{"an anchor that contains itself", `lan: &x [*x]
exclude: &y [*y]
`, `gateway.yaml:1:6: lan: is a list: want the name of an interface
gateway.yaml:2:10: exclude: is a list: want a prefix or an address, such as 198.51.100.0/24 or 2001:db8::1
`},
	{"the wrong shape", `lan: {a: b}
wan: [[a]]
wan_resolvers: {a: b}
mask: [1]
exclude: [[10.0.0.0/8]]
priority: {}
lifetime: 5m
owner: [auto]
routes: [a]
lists: {a: x.txt}
`, `gateway.yaml:1:6: lan: is a mapping: want a list of interfaces, such as [br-lan]
gateway.yaml:2:7: wan: is a list: want the name of an interface
gateway.yaml:3:16: wan_resolvers: is a mapping: want a list of resolvers, such as [192.0.2.53]
gateway.yaml:4:7: mask: is a list: want one run of 2 to 14 bits in 32, such as 0x7f000000
gateway.yaml:5:11: exclude: is a list: want a prefix or an address, such as 198.51.100.0/24 or 2001:db8::1
gateway.yaml:6:11: priority: is a mapping: want a whole number from 1 to 32754
gateway.yaml:7:11: lifetime: 5m: is a single value: want keys such as floor:
gateway.yaml:8:8: owner: is a list: want auto or off
gateway.yaml:9:9: routes: is a list: want names of routes, each with its keys
gateway.yaml:10:12: lists.a: x.txt: is a single value: want keys such as file:
`},
	{"values that are empty", `lan: [~, ""]
wan: ""
lists: {a: {file: ""}}
`, `gateway.yaml:1:7: lan: ~: is nothing: want the name of an interface
gateway.yaml:1:10: lan: "": is empty: want the name of an interface
gateway.yaml:2:6: wan: "": is empty: want auto, the name of an interface, or several such as [wan0, wan1]
gateway.yaml:3:19: lists.a.file: "": is empty: want the path of the list
`},
	{"numbers", `mask: 0777
priority: -1
set_size: 1.5
routes: {a: {interface: t, table: 0x100000000, mtu: 0, mark: 0x100000000}}
`, `gateway.yaml:1:7: mask: 0777: not a decimal or 0x hexadecimal number: want one run of 2 to 14 bits in 32, such as 0x7f000000
gateway.yaml:2:11: priority: -1: out of range: want 1 to 32754
gateway.yaml:3:11: set_size: 1.5: not a whole number: want a whole number from 1 to 16777216
gateway.yaml:4:35: routes.a.table: 0x100000000: out of range: want 1 to 2147483647
gateway.yaml:4:53: routes.a.mtu: 0: out of range: want 576 to 65535
gateway.yaml:4:62: routes.a.mark: 0x100000000: out of range: want at most 32 bits
`},
	{"a mask that leaves only others' bits", `mask: 0x100000000
routes: {a: {interface: t, mark: 3}, b: {interface: u, mark: 3}}
`, `gateway.yaml:1:7: mask: 0x100000000: not a usable mask: want one run of 2 to 14 bits in 32, such as 0x7f000000
`},
	{"priorities beyond table main's", "priority: 32700\n", `gateway.yaml:1:11: priority: 32700: leaves no room for the policy rules of routes: want at most 32627
`},
	{"no mark is free", `mask: 0x3
routes: {a: {interface: a}, b: {interface: b}, c: {interface: c}}
`, `gateway.yaml:2:48: routes.c.mark: 0x1: is also the mark of route a on line 2, as derived from the name: want a wider mask: all marks are taken
`},
	{"three times", `wan: a
wan: b
wan: c
`, `gateway.yaml:2:1: wan: duplicate key, first on line 1: want one
gateway.yaml:3:1: wan: duplicate key, first on line 1: want one
`},
	{"names", "routes: {\"a b\": {}, \"\": {}, 1a: {}, exclude: {}, special: {}, abcdefghijklmnopqrstuvwxyz0123456: {}}\n", `gateway.yaml:1:10: "routes.a b": invalid name: want a lower-case letter, then lower-case letters, digits, - or _
gateway.yaml:1:21: routes.: empty name: want a lower-case letter, then lower-case letters, digits, - or _
gateway.yaml:1:29: routes.1a: invalid name: want a lower-case letter, then lower-case letters, digits, - or _
gateway.yaml:1:37: routes.exclude: reserved name: want another
gateway.yaml:1:50: routes.special: reserved name: want another
gateway.yaml:1:63: routes.abcdefghijklmnopqrstuvwxyz0123456: name of 33 bytes: want at most 32
`},
	{"a lifetime against the defaults", "lifetime: {ceiling: 5m}\n", `gateway.yaml:1:11: lifetime.floor: 1h (the default) is above the ceiling of 5m
gateway.yaml:1:11: lifetime.grace: 10m (the default) is not below the ceiling of 5m
`},
	{"a lifetime against the default ceiling", "lifetime: {grace: 48h, floor: 9999h}\n", `gateway.yaml:1:19: lifetime.grace: 48h is not below the ceiling of 24h (the default)
gateway.yaml:1:31: lifetime.floor: 9999h: out of range: want at most 8760h
`},
	{"source NAT", "routes: {a: {interface: t, snat: [auto]}, b: {interface: u, snat: {x: y}}, c: {interface: v, snat: [192.0.2.1, 192.0.2.2]}, d: {interface: w, snat: 0.0.0.0}}\n", `gateway.yaml:1:35: routes.a.snat: auto: not an address: want auto, off, none, masquerade, an address, or one of each family
gateway.yaml:1:67: routes.b.snat: is a mapping: want auto, off, none, masquerade, an address, or one of each family
gateway.yaml:1:112: routes.c.snat: 192.0.2.2: second IPv4 address: want at most one of each family
gateway.yaml:1:149: routes.d.snat: 0.0.0.0: is the unspecified address: want auto, off, none, masquerade, an address, or one of each family
`},
	{"lists that must not be empty", "routes: {a: {next_hop: []}, b: {interface: t, snat: []}}\n", `gateway.yaml:1:24: routes.a.next_hop: is an empty list: want an address, or one of each family
gateway.yaml:1:53: routes.b.snat: is an empty list: want auto, off, none, masquerade, an address, or one of each family
`},
	{"prefixes of lists that are not there", `routes:
  a: {interface: t, prefixes: [chnrout, mine, mine, [mine], ""]}
  b: {interface: u, prefixes: {mine: x}}
  c: {interface: v, prefixes: []}
  d: {interface: w, prefixes: geoip-of-the-moon}
lists: {chnroute: {file: a}, mine: {file: b}}
`, `gateway.yaml:2:32: routes.a.prefixes: chnrout: unknown list: did you mean chnroute?
gateway.yaml:2:47: routes.a.prefixes: mine: duplicate
gateway.yaml:2:53: routes.a.prefixes: is a list: want the name of a list
gateway.yaml:2:61: routes.a.prefixes: "": is empty: want the name of a list
gateway.yaml:3:31: routes.b.prefixes: is a mapping: want names of lists, such as [chnroute]
gateway.yaml:5:31: routes.d.prefixes: geoip-of-the-moon: unknown list: want chnroute or mine
`},
	{"a redirection", "redirect_dns: {excpt: 1.2.3.4, except: [10.0.0.1/8, \"::/0\", dns.example, 9.9.9.9, 9.9.9.9], dot: drop}\n", `gateway.yaml:1:16: redirect_dns.excpt: unknown key: did you mean except?
gateway.yaml:1:41: redirect_dns.except: 10.0.0.1/8: has host bits set: want 10.0.0.0/8
gateway.yaml:1:53: redirect_dns.except: ::/0: exempts every address of its family: nothing would be redirected: want a smaller prefix, or redirect_dns: off
gateway.yaml:1:61: redirect_dns.except: dns.example: not a prefix or an address: want for example 198.51.100.0/24 or 2001:db8::1
gateway.yaml:1:83: redirect_dns.except: 9.9.9.9: duplicate
gateway.yaml:1:98: redirect_dns.dot: drop: unknown value: want allow or reject
`},
	{"a redirection that is no word", "redirect_dns: yes\n", `gateway.yaml:1:15: redirect_dns: yes: unknown value: want on or off
`},
	{"a redirection without a value", "redirect_dns:\n", `gateway.yaml:1:14: redirect_dns: has no value: want on, off, or the keys except: and dot:
`},
	{"a redirection that is a list", "redirect_dns: [on]\n", `gateway.yaml:1:15: redirect_dns: is a list: want on, off, or the keys except: and dot:
`},
	{"handshakes", "routes: {a: {wireguard: /w.conf, handshake_timeout: 1s, handshake_limit: 10, handshake_probe: 1m}, b: {interface: t, handshake_limit: 60s}}\n", `gateway.yaml:1:53: routes.a.handshake_timeout: 1s: out of range: want at least 10s
gateway.yaml:1:74: routes.a.handshake_limit: 10: not a duration: want a number with its unit, such as 90s, 10m or 24h
gateway.yaml:1:95: routes.a.handshake_probe: 1m: out of range: want at least 3m
gateway.yaml:1:135: routes.b.handshake_limit: only valid with wireguard
`},
	{"eviction", "routes: {a: {interface: t, evict: 1}, dns_exempt: {interface: u}, evicted: {interface: v}}\n", `gateway.yaml:1:35: routes.a.evict: 1: unknown value: want true or false
gateway.yaml:1:39: routes.dns_exempt: reserved name: want another
gateway.yaml:1:67: routes.evicted: reserved name: want another
`},
	{"a key that was renamed", "keep: [10.0.0.0/8]\nkep: []\nexclud: []\n", `gateway.yaml:1:1: keep: was renamed: want exclude
gateway.yaml:2:1: kep: unknown key: want lan, wan, wan_resolvers, mask, exclude, priority, set_size, lifetime, check_interval, owner, clients, default, routes, lists or redirect_dns
gateway.yaml:3:1: exclud: unknown key: did you mean exclude?
`},
	{"a list's key that was renamed", "lists: {a: {url: 'https://a.example/a', min_rules: 2}}\n", `gateway.yaml:1:41: lists.a.min_rules: was renamed: want min_entries
`},
	{"prefixes without any list", "routes: {a: {interface: t, prefixes: [mine]}}\n", `gateway.yaml:1:39: routes.a.prefixes: mine: unknown list: add it to lists
`},
	{"paths", `routes: {a: {wireguard: /etc/}}
lists: {b: {file: "a\0b"}}
`, `gateway.yaml:1:25: routes.a.wireguard: /etc/: not the path of a file: want the path of the provider's .conf file
gateway.yaml:2:19: lists.b.file: "a\x00b": not the path of a file: want the path of the list
`},
	{"allowed_ips", `routes:
  a: {interface: tun0, prefixes: [allowed_ips]}
  b: {wireguard: wg0.conf, prefixes: [allowed_ips, allowed_ips]}
lists:
  allowed_ips: {file: x}
`, `gateway.yaml:2:34: routes.a.prefixes: allowed_ips: only valid with wireguard: want names of lists
gateway.yaml:3:52: routes.b.prefixes: allowed_ips: duplicate
gateway.yaml:5:3: lists.allowed_ips: reserved name: want another
`},
	{"probes", `routes:
  a: {interface: tun0, probe: [ping dns.example, "tcp 192.0.2.1", "tcp 2001:db8::1:80", "tcp 192.0.2.1:0", pong 192.0.2.1, "ping 192.0.2.1 192.0.2.2"]}
  b: {interface: tun1, every: 1s, fails: 2, good: 2}
  c: {interface: tun2, probe: [ping 192.0.2.1, ping 192.0.2.1, handshake], every: 10ms, fails: 0}
  d: {interface: tun3, probe: []}
  e: {interface: tun4, probe: }
  f: {interface: tun5, probe: [http ftp://x/, http http://x/ 99, dns, "dns a..b", dns a.example x, ping 127.0.0.1, "handshake x", " "]}
  g: {interface: tun6, probe: [a, b, c, d, e, f, g, h, i]}
`, `gateway.yaml:2:32: routes.a.probe: dns.example: not an address: want ping ADDRESS
gateway.yaml:2:50: routes.a.probe: "tcp 192.0.2.1": has no port: want tcp ADDRESS:PORT, with an IPv6 address in brackets
gateway.yaml:2:67: routes.a.probe: "tcp 2001:db8::1:80": has no port: want tcp ADDRESS:PORT, with an IPv6 address in brackets
gateway.yaml:2:89: routes.a.probe: "tcp 192.0.2.1:0": not a port: want 1 to 65535
gateway.yaml:2:108: routes.a.probe: "pong 192.0.2.1": unknown probe: did you mean ping?
gateway.yaml:2:124: routes.a.probe: "ping 192.0.2.1 192.0.2.2": not a probe: want ping ADDRESS
gateway.yaml:3:31: routes.b.every: only valid with probe
gateway.yaml:3:42: routes.b.fails: only valid with probe
gateway.yaml:3:51: routes.b.good: only valid with probe
gateway.yaml:4:31: routes.c.probe: handshake: only valid with wireguard: want ping, tcp, http or dns
gateway.yaml:4:48: routes.c.probe: "ping 192.0.2.1": duplicate
gateway.yaml:4:83: routes.c.every: 10ms: out of range: want at least 200ms
gateway.yaml:4:96: routes.c.fails: 0: out of range: want 1 to 1000
gateway.yaml:5:31: routes.d.probe: is an empty list: want probes such as [ping 192.0.2.1]
gateway.yaml:6:31: routes.e.probe: has no value: want probes such as [ping 192.0.2.1]
gateway.yaml:7:32: routes.f.probe: ftp://x/: not an http or https URL: want for example https://lists.example.org/list.txt
gateway.yaml:7:47: routes.f.probe: 99: out of range: want 100 to 599
gateway.yaml:7:66: routes.f.probe: dns: not a probe: want dns NAME, or dns NAME RESOLVER
gateway.yaml:7:71: routes.f.probe: a..b: not a name: want dns NAME, or dns NAME RESOLVER
gateway.yaml:7:83: routes.f.probe: x: not the address of a resolver: want an address, or address:port with an IPv6 address in brackets
gateway.yaml:7:100: routes.f.probe: 127.0.0.1: is a loopback address: want ping ADDRESS
gateway.yaml:7:116: routes.f.probe: "handshake x": not a probe: want handshake alone
gateway.yaml:7:131: routes.f.probe: " ": is empty: want handshake, ping, tcp, http or dns, and what to ask
gateway.yaml:8:31: routes.g.probe: 9 probes: want at most 8
`},
}
