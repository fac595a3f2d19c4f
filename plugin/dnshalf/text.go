package dnshalf

import (
	"fmt"

	"github.com/coredns/caddy/caddyfile"
	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/pkg/parse"
	"github.com/coredns/coredns/plugin/pkg/transport"

	"github.com/nameroute/nameroute/gateway/nft"
)

// CheckBlocks looks at a Corefile that is not started, as start does at one that is:
// it returns what would let a listed name slip past its block, and notes on what may
// be wanted.
func CheckBlocks(blocks []caddyfile.ServerBlock) (notes []string, err error) {
	all, err := textBlocks(blocks)
	if err != nil {
		return nil, err
	}
	for _, z := range hidden(all) {
		notes = append(notes, fmt.Sprintf("zone %s has blocks of its own: listed names below it are answered there", z))
	}
	return notes, checkBlocks(all)
}

// Listeners are the addresses and ports that the blocks of a Corefile ask for. A bind
// by an interface's name counts as all addresses.
func Listeners(blocks []caddyfile.ServerBlock) ([]nft.Listener, error) {
	all, err := textBlocks(blocks)
	if err != nil {
		return nil, err
	}
	return listeners([]*plan{{blocks: all}}), nil
}

// textBlocks reads from a Corefile's text what readBlocks reads from CoreDNS.
func textBlocks(in []caddyfile.ServerBlock) ([]Block, error) {
	var out []Block
	for i, sb := range in {
		_, isListed := sb.Tokens["listed"]
		_, isView := sb.Tokens["view"]
		hosts := bindHosts(sb.Tokens["bind"])
		for _, key := range sb.Keys {
			trans, rest := parse.Transport(key)
			zones, port, err := plugin.SplitHostPort(rest)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", key, err)
			}
			if port == "" {
				port = defaultPort(trans)
			}
			for _, z := range zones {
				out = append(out, Block{
					Zone: plugin.Name(z).Normalize(), Transport: trans, Port: port, Hosts: hosts,
					Filtered: isListed || isView, Listed: isListed, id: uintptr(i + 1),
				})
			}
		}
	}
	return out, nil
}

// bindHosts are the arguments of bind: addresses, or interfaces that stand for
// their addresses.
func bindHosts(tokens []caddyfile.Token) []string {
	var hosts []string
	depth := 0
	for i, t := range tokens {
		switch {
		case t.Text == "{":
			depth++
		case t.Text == "}":
			depth--
		case depth == 0 && i > 0 && t.Text != "bind":
			hosts = append(hosts, t.Text)
		}
	}
	if len(hosts) == 0 {
		return []string{""}
	}
	return hosts
}

func defaultPort(trans string) string {
	switch trans {
	case transport.TLS:
		return transport.TLSPort
	case transport.QUIC:
		return transport.QUICPort
	case transport.GRPC:
		return transport.GRPCPort
	case transport.HTTPS, transport.HTTPS3:
		return transport.HTTPSPort
	}
	return transport.Port
}
