package dnshalf

import (
	"fmt"

	"github.com/nameroute/nameroute/corefile"
	"github.com/nameroute/nameroute/gateway/firewall"
)

// CheckBlocks checks a Corefile that is not started, as start checks one that is: it
// returns an error for what would let a listed name slip past its block, and notes on
// what may be wanted.
func CheckBlocks(f *corefile.File) (notes []string, err error) {
	all := textBlocks(f)
	for _, z := range hidden(all) {
		notes = append(notes, fmt.Sprintf("zone %s has blocks of its own: listed names below it are answered there", z))
	}
	return notes, checkBlocks(all)
}

// Listeners returns the addresses and ports that the blocks of a Corefile listen on. A
// bind by an interface's name counts as all addresses.
func Listeners(f *corefile.File) []firewall.Listener {
	return listeners([]*plan{{blocks: textBlocks(f)}})
}

// textBlocks reads from a parsed Corefile what readBlocks reads from CoreDNS.
func textBlocks(f *corefile.File) []Block {
	var out []Block
	for i, b := range f.Blocks {
		for _, z := range b.Zones {
			out = append(out, Block{
				Zone: z.Name, Transport: z.Transport, Port: z.Port, Hosts: b.Hosts,
				Filtered: b.Filtered(), Listed: b.Listed != nil, id: uintptr(i + 1),
			})
		}
	}
	return out
}
