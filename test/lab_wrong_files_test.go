package test

import "strings"

// swap is the right files with one thing changed.
func swap(file, old, with string) map[string]string {
	return map[string]string{file: strings.Replace(rightFiles[file], old, with, 1)}
}

// wrong files: what nameroute ends with, and what it says.
var wrong = []struct {
	name  string
	files map[string]string // in the place of the right ones
	code  int
	want  string // behind "nameroute: "
}{
	{
		"unknown key", swap("gateway.yaml", "wg0.conf", "wg0.conf\n    on_dwon: wan"), 3,
		`gateway.yaml:5:5: routes.vpn.on_dwon: unknown key: did you mean on_down?`,
	},
	{
		"wrong value", swap("gateway.yaml", "wg0.conf", "wg0.conf\n    on_down: wam"), 3,
		`gateway.yaml:5:14: routes.vpn.on_down: wam: unknown value: did you mean wan?`,
	},
	{
		"two problems", swap("gateway.yaml", "lan: [lan0]", "lna: [lan0]\nset_size: lots"), 3,
		"gateway.yaml:1:1: lna: unknown key: did you mean lan?\ngateway.yaml:2:11: set_size: lots: not a whole number: want a whole number from 1 to 16777216",
	},
	{
		"no gateway.yaml", map[string]string{"gateway.yaml": ""}, 3,
		"gateway.yaml: no gateway.yaml: `nameroute init` writes one, --config names another",
	},
	{
		"duplicate marks", swap("gateway.yaml", "wg0.conf", "wg0.conf\n    mark: 0x51000000\n  two:\n    wireguard: wg1.conf\n    mark: 0x51000000"), 3,
		`gateway.yaml:8:11: routes.two.mark: 0x51000000: is also the mark of route vpn on line 3: want for example 0x52000000`,
	},
	{
		"duplicate tables", swap("gateway.yaml", "wg0.conf", "wg0.conf\n    table: 7300\n  two:\n    wireguard: wg1.conf\n    table: 7300"), 3,
		`gateway.yaml:8:12: routes.two.table: 7300: is also the table of route vpn on line 3: want another table`,
	},
	{
		"both files",
		map[string]string{
			"gateway.yaml": strings.Replace(rightFiles["gateway.yaml"], "lan: [lan0]", "lna: [lan0]\nset_size: lots", 1),
			"Corefile":     strings.NewReplacer("mine\n    route vpn\n    cache", "mine\n    rout vpn\n    cahce", "192.0.2.54", "192.0.2.544").Replace(rightFiles["Corefile"]),
		}, 3,
		"gateway.yaml:1:1: lna: unknown key: did you mean lan?\ngateway.yaml:2:11: set_size: lots: not a whole number: want a whole number from 1 to 16777216\n" +
			"Corefile:3 - Error during parsing: Unknown directive 'rout': did you mean route?\n" +
			"Corefile:4 - Error during parsing: Unknown directive 'cahce': did you mean cache?\n" +
			"plugin/upstream: Corefile:9 - Error during parsing: address 192.0.2.544: not an IP address: want 192.0.2.53, 192.0.2.53:5353, [2001:db8::53]:53 or tls://192.0.2.53%dns.example.org",
	},
	{
		"neither file", map[string]string{"gateway.yaml": "", "Corefile": ""}, 3,
		"gateway.yaml: no gateway.yaml: `nameroute init` writes one, --config names another\nCorefile: no Corefile: `nameroute init` writes one, --corefile names another",
	},
	{
		"Corefile and list", map[string]string{"mine.txt": "", "Corefile": strings.Replace(rightFiles["Corefile"], "route vpn", "route vpm\n    cahce", 1)}, 4,
		"Corefile:4 - Error during parsing: Unknown directive 'cahce': did you mean cache?\n" +
			"plugin/route: Corefile:3 - Error during parsing: unknown route \"vpm\": did you mean \"vpn\"? (gateway.yaml has: wan, vpn)\n" +
			"gateway.yaml:7:11: lists.mine.file: list mine: open mine.txt: no such file or directory: create the file, or correct its name",
	},
	{
		"no Corefile", map[string]string{"Corefile": ""}, 4,
		"Corefile: no Corefile: `nameroute init` writes one, --corefile names another",
	},
	{
		"unknown route in route", swap("Corefile", "route vpn", "route vpm"), 4,
		`plugin/route: Corefile:3 - Error during parsing: unknown route "vpm": did you mean "vpn"? (gateway.yaml has: wan, vpn)`,
	},
	{
		"unknown route in upstream", swap("Corefile", "upstream vpn", "upstream vnp"), 4,
		`plugin/upstream: Corefile:5 - Error during parsing: unknown route "vnp": did you mean "vpn"? (gateway.yaml has: wan, vpn)`,
	},
	{
		"unknown list", swap("Corefile", "listed mine", "listed mien"), 4,
		`plugin/listed: Corefile:2 - Error during parsing: unknown list "mien": did you mean "mine"? (gateway.yaml has: mine)`,
	},
	{
		"unknown plugin", swap("Corefile", "    cache\n", "    cahce\n"), 4,
		`Corefile:4 - Error during parsing: Unknown directive 'cahce': did you mean cache?`,
	},
	{
		"unknown property", swap("Corefile", "route vpn", "route vpn {\n        onerror answer\n    }"), 4,
		`plugin/route: Corefile:4 - Error during parsing: unknown property "onerror": want config, set, on_error or new_addresses`,
	},
	{
		"forward past the route", swap("Corefile", "    upstream vpn 192.0.2.53", "    forward . 192.0.2.53"), 4,
		"Corefile:5 - Error during parsing: forward would query the names of route vpn by the default route, past the route: want upstream vpn ADDRESS..., or forward in a block of its own without route",
	},
	{
		"not an address", swap("Corefile", "192.0.2.53", "192.0.2.533"), 4,
		`plugin/upstream: Corefile:5 - Error during parsing: address 192.0.2.533: not an IP address: want 192.0.2.53, 192.0.2.53:5353, [2001:db8::53]:53 or tls://192.0.2.53%dns.example.org`,
	},
	{
		"blocks with different binds", swap("Corefile", "    listed mine", "    bind 127.0.0.1\n    listed mine"), 4,
		"Corefile: zone . on dns://127.0.0.1:53: names on no list would be refused: add a last block without listed on this listener\n" +
			"zone .: listed mine has a block on dns://127.0.0.1:53 and none on dns://*:53, where its names would be refused or take another route: serve both by the same blocks (each begins with `. tls://. https://. {`, say, or has the same bind), or give dns://*:53 a block with listed mine too",
	},
	{
		"the block without listed first",
		map[string]string{"Corefile": ". {\n    upstream wan 192.0.2.54\n}\n. {\n    listed mine\n    route vpn\n    upstream vpn 192.0.2.53\n}\n"}, 4,
		`Corefile: zone . on dns://*:53: a block with listed or view comes after one without, which answers every query first: move the one without to the end`,
	},
	{
		"brace not closed", swap("Corefile", "192.0.2.54\n}\n", "192.0.2.54\n"), 4,
		`Corefile:9 - Syntax error: Unexpected token '192.0.2.54', expecting '}': a block before it is not closed: want a line with } for each {`,
	},
	{
		"list missing", map[string]string{"mine.txt": ""}, 5,
		"list mine: open mine.txt: no such file or directory",
	},
	{
		"list without an entry", map[string]string{"mine.txt": "404:\nNot Found\n"}, 5,
		"list mine: mine.txt: no entry in 2 lines, read as plain; line 1: \"404:\": not a domain name",
	}, {
		"list that is a web page", map[string]string{"mine.txt": "<html>\n<body>\nlogin\nportal\n"}, 5,
		"list mine: mine.txt: it is a web page, not a list",
	},
	{
		"list in another format than it says", swap("gateway.yaml", "file: mine.txt", "file: mine.txt\n    format: dnsmasq"), 5,
		"list mine: mine.txt: no entry in 1 lines, read as dnsmasq; line 1: \"listed.example\": not server=",
	},
}
