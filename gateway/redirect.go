package gateway

import "net/netip"

// Redirect is `redirect_dns`: what happens to queries of lan clients to other resolvers.
// The zero value does not touch them.
type Redirect struct {
	On        bool           // queries to port 53, UDP and TCP, are answered here
	Except    []netip.Prefix // clients and resolvers that are exempt
	RejectDoT bool           // `dot: reject`: DNS over TLS and QUIC, port 853, is rejected
}
