package reply

import (
	"fmt"

	"github.com/miekg/dns"
)

// WriteWire writes to w what change makes of an answer in wire format, for a
// ResponseWriter between handlers that write in it. What cannot be parsed is not passed on;
// answer names it in the error.
func WriteWire(w dns.ResponseWriter, b []byte, answer string, change func(*dns.Msg) *dns.Msg) (int, error) {
	m := new(dns.Msg)
	if err := m.Unpack(b); err != nil {
		return 0, fmt.Errorf("%s cannot be parsed: %w", answer, err)
	}
	out, err := change(m).Pack()
	if err != nil {
		return 0, err
	}
	if _, err := w.Write(out); err != nil {
		return 0, err
	}
	return len(b), nil
}
