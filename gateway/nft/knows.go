package nft

import (
	"net/netip"
	"time"
)

// Knows reports whether every address is known to be in its set for at least need
// from now, so that Learn would have nothing to send. It takes no lock, allocates
// nothing and asks no kernel.
func (k *Kernel) Knows(pair *SetPair, addrs []netip.Addr, need time.Duration) bool {
	return k.known(pair, addrs, need)
}
