package wire

import (
	"bytes"

	"github.com/miekg/dns"
)

// Verdict classifies a message from a resolver's address.
type Verdict string

// All verdicts but Accepted are label values of mismatched_replies_total.
const (
	Accepted      Verdict = "accepted"
	UnknownID     Verdict = "id"        // no query in flight has it: late, a duplicate, or forged
	WrongQuery    Verdict = "question"  // forged
	WrongCase     Verdict = "case"      // forged, or from a resolver that does not preserve case
	WrongCookie   Verdict = "cookie"    // another client's cookie: forged
	WithoutCookie Verdict = "no cookie" // forged, or from a resolver that has stopped giving any
	HasIgnored    Verdict = "ignored"   // forged on the way, or by the resolver
	Malformed     Verdict = "malformed" // not a reply at all
)

// Match compares a reply with the query whose id it carries. The question section must
// be equal byte for byte: its case is part of what a forger has to guess
// (draft-vixie-dnsext-dns0x20). With anyCase, for streams, into which no message can be
// injected, only the case may differ.
//
// An error without a question section is accepted, with an OPT record or without: servers
// that do not understand a query answer so, and a forged one can only make us ask again.
func Match(q Packed, reply []byte, anyCase bool) Verdict {
	const response, opcode, rcode = 1 << 7, 0x78, 0x0f
	if len(reply) < HeaderLen || reply[2]&response == 0 || reply[2]&opcode != 0 {
		return Malformed
	}
	switch n := int(reply[4])<<8 | int(reply[5]); {
	case n == 0 && reply[6]|reply[7]|reply[8]|reply[9] == 0 && isError(int(reply[3]&rcode)):
		return Accepted // no records but an OPT
	case n != 1 || len(reply) < q.End:
		return WrongQuery
	}
	want, got := q.Msg()[HeaderLen:q.End], reply[HeaderLen:q.End]
	if bytes.Equal(want, got) {
		return Accepted
	}
	// Type and class are the last four bytes and have no case. A label's length is below
	// 64, so folding it as a letter changes nothing.
	name := len(want) - 4
	if !bytes.Equal(want[name:], got[name:]) || !equalFold(want[:name], got[:name]) {
		return WrongQuery
	}
	if anyCase {
		return Accepted
	}
	return WrongCase
}

func isError(rcode int) bool { return rcode != dns.RcodeSuccess && rcode != dns.RcodeNameError }

// equalFold compares as DNS does, ASCII letters only (RFC 4343). bytes.EqualFold
// would fold Unicode.
func equalFold(a, b []byte) bool {
	for i := range a {
		if lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
