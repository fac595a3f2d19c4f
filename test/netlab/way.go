//go:build linux

package netlab

import (
	"fmt"
	"strconv"
)

// Way is how a packet reached the internet: "wan", "vpn" (the first provider),
// "vpn2" and so on, "lan" (its source was not translated), or "from ADDRESS".
type Way string

const (
	ByWAN Way = "wan"
	ByVPN Way = "vpn"
	ByLAN Way = "lan"
)

// ByTunnel is the way through provider number n, from 0.
func ByTunnel(n int) Way {
	if n == 0 {
		return ByVPN
	}
	return Way(fmt.Sprintf("vpn%s", strconv.Itoa(n+1)))
}
