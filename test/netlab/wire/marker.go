//go:build linux

package wire

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// MarkerPort is the UDP port that markers are sent to: discard (RFC 863).
const MarkerPort = 9

const markerText = "netlab marker "

// Marker is the content of marker number n: a datagram that a test sends behind others, so
// that a tap that has seen it has seen those. No tap's record has it.
func Marker(n int64) string { return fmt.Sprintf("%s%d", markerText, n) }

// mark returns the text of a marker; it reports false for any other packet.
func (p Packet) mark() (string, bool) {
	if p.Proto != unix.IPPROTO_UDP || p.Dst.Port() != MarkerPort {
		return "", false
	}
	text := string(p.Payload())
	return text, strings.HasPrefix(text, markerText)
}
