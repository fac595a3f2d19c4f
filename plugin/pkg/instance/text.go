package instance

import (
	"fmt"

	"github.com/nameroute/nameroute/corefile"
	"github.com/nameroute/nameroute/gateway/firewall"
	"github.com/nameroute/nameroute/plugin/pkg/bindaddr"
)

// CheckBlocks checks a Corefile that is not started, as start checks one that is: it
// returns an error for what would let a listed name bypass its block, and notes on what
// may be wanted.
func CheckBlocks(f *corefile.File) (notes []string, err error) {
	all := textZones(f)
	for _, z := range hidden(all) {
		notes = append(notes, fmt.Sprintf("zone %s has blocks of its own: listed names below it are answered there", z))
	}
	return notes, checkZones(all)
}

// Listeners returns the addresses and ports that the blocks of a Corefile would listen on
// now, with the addresses that the interfaces of bind have.
func Listeners(f *corefile.File) []firewall.Listener { return listeners(textZones(f)) }

// textZones reads from a parsed Corefile what readZones reads from CoreDNS.
func textZones(f *corefile.File) []zone {
	var out []zone
	for i, b := range f.Blocks {
		var lists []string
		view := ""
		if b.Listed != nil {
			lists = b.Listed.Lists
		} else if b.View != nil && len(b.View.Args) > 0 {
			view = b.View.Args[0]
		}
		hosts := b.Hosts
		if b.Hosts[0] != "" {
			hosts, _ = bindaddr.Of(b.Hosts, b.Except)
		}
		for _, z := range b.Zones {
			out = append(out, zone{
				name: z.Name, transport: z.Transport, port: z.Port, hosts: hosts, class: b.Class(),
				filtered: b.Filtered(), lists: lists, view: view, block: uintptr(i + 1),
			})
		}
	}
	return out
}
