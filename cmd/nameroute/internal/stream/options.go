package stream

import (
	"encoding/binary"
	"time"
)

const (
	typeOPT, typeTSIG = 41, 250

	optionKeepalive = 11 // RFC 7828
	optionPadding   = 12 // RFC 7830

	// paddingBlock is what answers to padded queries are padded to a multiple of (RFC 8467
	// section 4.1).
	paddingBlock = 468

	maxMessage = 65535
)

// wants are the options of the connection that a client asked for.
type wants struct{ keepalive, padding bool }

// wantsOf reads a query. A signed answer cannot be changed, so a query with TSIG wants
// nothing, and over TCP in the clear padding hides nothing.
func wantsOf(query []byte, encrypted bool) wants {
	r := recordsOf(query)
	if !r.ok || r.opt == 0 || r.signed {
		return wants{}
	}
	var w wants
	eachOption(r.data(query), func(code uint16, _ []byte) {
		w.keepalive = w.keepalive || code == optionKeepalive
		w.padding = w.padding || code == optionPadding && encrypted
	})
	return w
}

// give returns an answer with the options that its client asked for, in place of those
// that it came with.
func (w wants) give(answer []byte, idle time.Duration) ([]byte, bool) {
	if !w.keepalive && !w.padding {
		return answer, false
	}
	r := recordsOf(answer)
	if !r.ok || r.opt == 0 || r.signed {
		return answer, false
	}
	old := r.data(answer)
	rest := answer[r.opt+optHeader+len(old):]
	data := make([]byte, 0, len(old)+paddingBlock+10)
	eachOption(old, func(code uint16, value []byte) {
		if code != optionKeepalive && code != optionPadding {
			data = appendOption(data, code, value)
		}
	})
	if w.keepalive {
		units := min(idle/(100*time.Millisecond), maxMessage)
		data = appendOption(data, optionKeepalive, binary.BigEndian.AppendUint16(nil, uint16(units)))
	}
	if w.padding {
		size := r.opt + optHeader + len(data) + 4 + len(rest)
		data = appendOption(data, optionPadding, make([]byte, max(0, min((paddingBlock-size%paddingBlock)%paddingBlock, maxMessage-size))))
	}
	out := make([]byte, 0, r.opt+optHeader+len(data)+len(rest))
	out = append(out, answer[:r.opt+optHeader-2]...)
	out = binary.BigEndian.AppendUint16(out, uint16(len(data)))
	out = append(append(out, data...), rest...)
	if len(out) > maxMessage {
		return answer, false
	}
	return out, true
}

// optHeader is the size of an OPT record before its data: its owner is the root.
const optHeader = 11

// records is what a message has of the records that matter here.
type records struct {
	ok     bool
	opt    int // where the OPT record begins; 0 without one
	signed bool
}

// data returns that of the message's OPT record.
func (r records) data(message []byte) []byte {
	n := int(binary.BigEndian.Uint16(message[r.opt+optHeader-2:]))
	return message[r.opt+optHeader : r.opt+optHeader+n]
}

func recordsOf(m []byte) records {
	var r records
	at := headerSize
	for range binary.BigEndian.Uint16(m[4:]) {
		if at = skipName(m, at); at == 0 || at+4 > len(m) {
			return r
		}
		at += 4
	}
	n := int(binary.BigEndian.Uint16(m[6:])) + int(binary.BigEndian.Uint16(m[8:])) + int(binary.BigEndian.Uint16(m[10:]))
	for range n {
		begin := at
		if at = skipName(m, at); at == 0 || at+10 > len(m) {
			return r
		}
		kind := binary.BigEndian.Uint16(m[at:])
		at += 10 + int(binary.BigEndian.Uint16(m[at+8:]))
		if at > len(m) {
			return r
		}
		switch {
		case kind == typeOPT && m[begin] == 0:
			r.opt = begin
		case kind == typeTSIG:
			r.signed = true
		}
	}
	r.ok = at == len(m)
	return r
}

// skipName returns where a name ends; 0 if it does not.
func skipName(m []byte, at int) int {
	for at < len(m) {
		switch n := int(m[at]); {
		case n == 0:
			return at + 1
		case n&0xc0 == 0xc0:
			return at + 2
		case n&0xc0 != 0:
			return 0
		default:
			at += 1 + n
		}
	}
	return 0
}

// eachOption visits the options in an OPT record's data, as far as they are whole.
func eachOption(data []byte, visit func(code uint16, value []byte)) {
	for len(data) >= 4 {
		n := int(binary.BigEndian.Uint16(data[2:]))
		if len(data) < 4+n {
			return
		}
		visit(binary.BigEndian.Uint16(data), data[4:4+n])
		data = data[4+n:]
	}
}

func appendOption(data []byte, code uint16, value []byte) []byte {
	data = binary.BigEndian.AppendUint16(data, code)
	data = binary.BigEndian.AppendUint16(data, uint16(len(value)))
	return append(data, value...)
}
