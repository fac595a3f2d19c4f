// Package corefile parses Corefiles, with the files that they import, and holds the order
// of the directives and the Corefile that packages install.
package corefile

import _ "embed"

// Shipped is the Corefile that packages install, with the comments that explain it.
//
//go:embed Corefile
var Shipped []byte

// Directives returns the directives that a Corefile may use, in the order in which a
// query passes through their plugins. The order is CoreDNS's own, with ours in between:
//
//   - listed and route above everything that can answer (local, dns64, rewrite, cache,
//     template, hosts, file), so that no answer passes them unseen;
//   - listed above route, so that the names an answer leads to are known in the moment
//     in which the kernel has its addresses, and before the client has either;
//   - leases below hosts, file, auto and secondary: what a client calls itself never
//     takes the place of what somebody wrote down;
//   - home below all data of our own, so that it denies only what nobody here knows;
//   - rebind below all of these and the cache: what is ours may lead into the home, and
//     what is cached is clean;
//   - upstream at the end, before forward.
func Directives() []string {
	return []string{
		"root", "metadata", "cancel", "proxyproto", "quic", "grpc_server", "https", "https3",
		"timeouts", "multisocket", "reload", "nsid", "bufsize", "bind", "debug", "ready",
		"health", "pprof", "shed", "prometheus", "errors", "log", "dnstap",
		"listed", "route",
		"local", "dns64", "siit", "any", "chaos", "loadbalance", "tsig", "rewrite", "acl",
		"cache", "header", "dnssec", "tls", "minimal", "template", "transfer", "dynupdate",
		"hosts", "file", "auto", "secondary", "leases", "home", "loop",
		"rebind", "upstream", "forward", "grpc", "erratic", "whoami", "sign", "view",
	}
}
