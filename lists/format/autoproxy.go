package format

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/nameroute/nameroute/lists/entry"
)

// autoproxy is the format of gfwlist, as text or in base64. Its rules are about URLs; a
// resolver knows only the host. Where the two differ, entries are read widely and
// exceptions narrowly: what is read wrongly goes through the tunnel.
//
//	rule                    entry                   exception (after @@)
//	||name                  name and below          name and below
//	|http://name            name and below          name
//	.name                   name and below          below
//	name                    name and below          name and below
//	*.name in any of these  below                   below
//	any of these and a path the host                skipped
//	name*word               the host                skipped
//	/^https?:\/\/host.../   regular expression      regular expression
//
// '!' begins a comment, [AutoProxy 0.2.9] is the header.
type autoproxy struct{}

const (
	reasonURLWord    = "a word of a URL, not a host"
	reasonPath       = "a path without a host"
	reasonPathExcept = "an exception for only a part of a host"
	reasonAddrExcept = "an exception for an address"
	reasonAdblock    = "a modifier of Adblock rules: want format: adblock for the list"
)

func (autoproxy) name() string { return "autoproxy" }

func (autoproxy) suits(file string) bool { return strings.Contains(file, "gfwlist") }

func (a autoproxy) sniff(head []byte) int {
	if text, ok := decodedHead(head); ok {
		head = text
	}
	if bytes.Contains(head, []byte("[AutoProxy")) {
		return len(head) // even if most rules are bare names
	}
	return countLines(head, func(line string) bool {
		return strings.HasPrefix(line, "||") || strings.HasPrefix(line, "|http") || strings.HasPrefix(line, "@@")
	})
}

func (a autoproxy) parse(r io.Reader, s *Sink) error {
	br := bufio.NewReaderSize(r, headSize)
	head, err := br.Peek(headSize)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if _, ok := decodedHead(head); !ok {
		return eachLine(br, s, "![", func(line string) { autoproxyRule(line, s) })
	}
	text := base64.NewDecoder(base64.StdEncoding, &spaceless{br})
	err = eachLine(text, s, "![", func(line string) { autoproxyRule(line, s) })
	if err != nil { // truncated, or overwritten: names that are missing would leak
		return fmt.Errorf("base64: %w", err)
	}
	return nil
}

// decodedHead decodes the beginning of a base64 file. It returns false if the file is none.
func decodedHead(head []byte) (text []byte, ok bool) {
	head = bytes.TrimPrefix(head, []byte("\ufeff"))
	packed := bytes.Join(bytes.Fields(head), nil)
	packed = packed[:len(packed)/4*4]
	text = make([]byte, base64.StdEncoding.DecodedLen(len(packed)))
	n, err := base64.StdEncoding.Decode(text, packed)
	text = text[:n]
	if err != nil && n < 9 || n == 0 {
		return nil, false
	}
	// A list of short words without dots is base64, too, but does not decode to text.
	for _, c := range text {
		if c < ' ' && c != '\n' && c != '\r' && c != '\t' {
			return nil, false
		}
	}
	return text, bytes.HasPrefix(text, []byte("[AutoProxy")) || bytes.Contains(text, []byte("||"))
}

// spaceless removes white space and a byte order mark, which the base64 decoder refuses.
type spaceless struct{ r io.Reader }

func (s *spaceless) Read(p []byte) (int, error) {
	for {
		n, err := s.r.Read(p)
		kept := p[:0]
		for _, c := range p[:n] {
			switch c {
			case ' ', '\t', '\r', '\n', 0xef, 0xbb, 0xbf:
			default:
				kept = append(kept, c)
			}
		}
		if len(kept) > 0 || err != nil || len(p) == 0 {
			return len(kept), err
		}
	}
}

func autoproxyRule(line string, s *Sink) {
	rule, excepted := strings.CutPrefix(line, "@@")
	if hasModifier(rule) && (excepted || !harmless(rule)) {
		s.skip(line, reasonAdblock)
		return
	}
	if len(rule) > 2 && rule[0] == '/' && rule[len(rule)-1] == '/' {
		e, reason := urlRegexp(rule[1:len(rule)-1], excepted)
		finish(e, reason, excepted, line, s)
		return
	}
	exceptKind := entry.Suffix
	bare := false
	switch {
	case strings.HasPrefix(rule, "||"):
		rule = rule[2:]
	case strings.HasPrefix(rule, "|"), strings.HasPrefix(rule, "http://"), strings.HasPrefix(rule, "https://"):
		scheme, rest, ok := strings.Cut(strings.TrimPrefix(rule, "|"), "://")
		if !ok || scheme != "http" && scheme != "https" {
			s.skip(line, reasonURLWord)
			return
		}
		rule, exceptKind = rest, entry.Full
	case strings.HasPrefix(rule, "."):
		exceptKind, bare = entry.Below, true
	case strings.HasPrefix(rule, "/"):
		s.skip(line, reasonPath)
		return
	default:
		bare = true
	}
	host, rest := cutHost(rule)
	if name, ok := cutStarPath(host); ok {
		host, rest = name, true
	}
	if bare && !strings.Contains(strings.Trim(host, ".*"), ".") {
		s.skip(line, reasonURLWord)
		return
	}
	if excepted && rest {
		s.skip(line, reasonPathExcept)
		return
	}
	if p, ok := entry.ParsePrefix(host); ok {
		if excepted {
			s.skip(line, reasonAddrExcept)
			return
		}
		s.putPrefix(p)
		return
	}
	e, reason := urlHost(host, excepted, exceptKind)
	finish(e, reason, excepted, line, s)
}

// cutStarPath cuts the host of a rule at a '*' that follows all of a name, which means the
// slash and the beginning of a path (example.com*word). What contains a dot after it is a
// host with a wildcard (a.b*.example.com).
func cutStarPath(host string) (name string, ok bool) {
	star := strings.IndexByte(host, '*')
	if star < 1 || host[star-1] == '.' || strings.ContainsAny(host[star+1:], ".*") || star == len(host)-1 {
		return host, false
	}
	return host[:star], strings.Contains(strings.Trim(host[:star], "."), ".")
}

// urlHost returns the entry of the host of a rule.
func urlHost(host string, excepted bool, exceptKind entry.Kind) (e entry.Entry, reason string) {
	e, reason = entry.ParsePattern(host)
	if !excepted || reason != "" {
		return e, reason
	}
	switch {
	case e.Kind == entry.Suffix:
		e.Kind = exceptKind
	case e.Kind == entry.Regexp && exceptKind == entry.Full:
		e.Text, reason = entry.Glob(host, false)
	}
	return e, reason
}

func finish(e entry.Entry, reason string, excepted bool, line string, s *Sink) {
	if reason != "" {
		s.skip(line, reason)
		return
	}
	if excepted {
		e.Exception = entry.Always
	}
	s.put(e)
}

// cutHost splits a URL rule after its host. more means that the rest restricts the rule to a
// part of the host: a path, a port, options.
func cutHost(rule string) (host string, more bool) {
	if strings.HasPrefix(rule, "[") { // an IPv6 literal
		if end := strings.IndexByte(rule, ']'); end > 0 {
			return rule[1:end], strings.Trim(rule[end+1:], "/^|*") != ""
		}
	}
	if end := strings.IndexAny(rule, "/^:?$|"); end >= 0 {
		return rule[:end], strings.Trim(rule[end:], "/^|*") != ""
	}
	return rule, false
}
