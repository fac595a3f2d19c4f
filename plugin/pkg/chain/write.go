package chain

import "github.com/miekg/dns"

// Writer is a ResponseWriter that cleans what it is given. Handlers that have done that, for
// the same names, write by WriteCleaned.
type Writer interface {
	WriteCleaned(*dns.Msg) error
}

// Write writes a cleaned message.
func Write(w dns.ResponseWriter, m *dns.Msg) error {
	if c, ok := w.(Writer); ok {
		return c.WriteCleaned(m)
	}
	return w.WriteMsg(m)
}
