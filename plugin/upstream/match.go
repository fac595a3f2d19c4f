package upstream

import (
	"bytes"

	"github.com/miekg/dns"
)

// verdict is what a message from a resolver's address turned out to be.
type verdict string

// The verdicts but accepted are label values of mismatched_replies_total.
const (
	accepted      verdict = "accepted"
	unknownID     verdict = "id"        // nothing in flight has it: late, a duplicate, or forged
	wrongQuestion verdict = "question"  // forged
	wrongCase     verdict = "case"      // forged, or from a resolver that does not keep the case
	malformed     verdict = "malformed" // not a reply at all
)

// match compares a reply with the query whose id it carries. The question must
// come back byte for byte: its case is part of what a forger has to guess
// (draft-vixie-dnsext-dns0x20). On a stream, where nobody can slip a message in
// (anyCase), only the case may differ.
//
// A reply with an error and no question is accepted: servers that do not
// understand a query answer so, and all that it can do is make us ask elsewhere.
func match(q query, reply []byte, anyCase bool) verdict {
	const response, opcode, rcode = 1 << 7, 0x78, 0x0f
	if len(reply) < headerLen || reply[2]&response == 0 || reply[2]&opcode != 0 {
		return malformed
	}
	switch questions := int(reply[4])<<8 | int(reply[5]); {
	case questions == 0 && len(reply) == headerLen && isError(int(reply[3]&rcode)):
		return accepted
	case questions != 1 || len(reply) < q.end:
		return wrongQuestion
	}
	want, got := q.msg()[headerLen:q.end], reply[headerLen:q.end]
	if bytes.Equal(want, got) {
		return accepted
	}
	// Type and class are the last four bytes and have no case. A label's length is
	// below 64, so that folding it as a letter changes nothing.
	name := len(want) - 4
	if !bytes.Equal(want[name:], got[name:]) || !equalFold(want[:name], got[:name]) {
		return wrongQuestion
	}
	if anyCase {
		return accepted
	}
	return wrongCase
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
