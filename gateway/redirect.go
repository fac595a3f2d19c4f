package gateway

import "net/netip"

// Redirect is `redirect_dns`: what becomes of lan clients' questions to resolvers other
// than this box. The zero value leaves them alone.
type Redirect struct {
	On     bool           // questions to port 53, UDP and TCP, are answered by us
	Except []netip.Prefix // clients and resolvers that are left alone
	Refuse bool           // `dot: reject`: DNS over TLS and QUIC, port 853, is refused
}
