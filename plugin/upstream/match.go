package upstream

import (
	"bytes"

	"github.com/miekg/dns"
)

// verdict classifies a message from a resolver's address.
type verdict string

// All verdicts but accepted are label values of mismatched_replies_total.
const (
	accepted      verdict = "accepted"
	unknownID     verdict = "id"        // no query in flight has it: late, a duplicate, or forged
	wrongQuestion verdict = "question"  // forged
	wrongCase     verdict = "case"      // forged, or from a resolver that does not preserve case
	malformed     verdict = "malformed" // not a reply at all
)

// match compares a reply with the query whose id it carries. The question section must
// be equal byte for byte: its case is part of what a forger has to guess
// (draft-vixie-dnsext-dns0x20). With anyCase, for streams, into which no message can be
// injected, only the case may differ.
//
// An error without a question section is accepted: servers that do not understand a
// query answer so, and a forged one can only make us ask another resolver.
func match(q packedQuery, reply []byte, anyCase bool) verdict {
	const response, opcode, rcode = 1 << 7, 0x78, 0x0f
	if len(reply) < headerLen || reply[2]&response == 0 || reply[2]&opcode != 0 {
		return malformed
	}
	switch n := int(reply[4])<<8 | int(reply[5]); {
	case n == 0 && len(reply) == headerLen && isError(int(reply[3]&rcode)):
		return accepted
	case n != 1 || len(reply) < q.end:
		return wrongQuestion
	}
	want, got := q.msg()[headerLen:q.end], reply[headerLen:q.end]
	if bytes.Equal(want, got) {
		return accepted
	}
	// Type and class are the last four bytes and have no case. A label's length is below
	// 64, so folding it as a letter changes nothing.
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
