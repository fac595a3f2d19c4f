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
//   - listed and route are above everything that can answer (local, dns64, rewrite, cache,
//     template, hosts, file), so every answer passes through them;
//   - listed is above route: the aliases in an answer are known before the client has it,
//     and no earlier than the kernel has its addresses;
//   - ddr is above cache and all local data: what it says depends on the address that the
//     client asked;
//   - leases is below hosts, file, auto and secondary: the name that a client gives itself
//     never hides a configured one;
//   - home is below all local data: it denies only names that none of it has;
//   - rebind is below all of these and the cache: local data may contain private
//     addresses, and the cache holds filtered answers;
//   - upstream is at the end, before forward.
func Directives() []string {
	return []string{
		"root", "metadata", "cancel", "proxyproto", "quic", "grpc_server", "https", "https3",
		"timeouts", "multisocket", "reload", "nsid", "bufsize", "bind", "debug", "ready",
		"health", "pprof", "shed", "prometheus", "errors", "log", "dnstap",
		"replay", "clients", "listed", "route",
		"local", "dns64", "siit", "any", "chaos", "loadbalance", "tsig", "rewrite", "acl", "ddr",
		"cache", "header", "dnssec", "tls", "minimal", "template", "transfer", "dynupdate",
		"hosts", "file", "auto", "secondary", "leases", "home", "loop",
		"rebind", "upstream", "forward", "grpc", "erratic", "whoami", "sign", "view",
	}
}

// Fetching returns the directives whose plugins query other servers by sockets of their own,
// which have no route's mark. Those of CoreDNS builds with more plugins are among them.
func Fetching() []string {
	return []string{"forward", "grpc", "secondary", "etcd", "route53", "clouddns", "azure", "nomad", "kubernetes", "k8s_external"}
}
