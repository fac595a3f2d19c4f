//go:build linux

package netlab

import (
	"fmt"
	"strconv"
)

// Egress is how a packet reached the internet: "wan", "vpn" (the first provider),
// "vpn2" and so on, "lan" (its source was not translated), or "from ADDRESS".
type Egress string

const (
	ViaWAN Egress = "wan"
	ViaVPN Egress = "vpn"
	ViaLAN Egress = "lan"
	// ViaWAN2 is the link of AddWAN in a lab with TellUplinks.
	ViaWAN2 Egress = "wan2"
)

// ViaTunnel is the egress through provider number n, from 0.
func ViaTunnel(n int) Egress {
	if n == 0 {
		return ViaVPN
	}
	return Egress(fmt.Sprintf("vpn%s", strconv.Itoa(n+1)))
}
