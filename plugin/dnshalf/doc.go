// Package dnshalf is what the plugins listed, route and upstream share: the dns
// half of the gateway. It holds gateway.yaml, the compiled lists, the nft table, the
// names that listed names led to and the state of the routes, and keeps them over a
// reload of CoreDNS, which builds every plugin anew.
//
// A plugin calls Attach in its setup, which reads and checks and changes nothing. The
// half itself is opened when the instance starts and closed when the last instance
// that uses it is gone.
package dnshalf

import clog "github.com/coredns/coredns/plugin/pkg/log"

var log = clog.NewWithPlugin("nameroute")
