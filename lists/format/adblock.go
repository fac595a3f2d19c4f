package format

import (
	"bufio"
	"errors"
	"hash/maphash"
	"io"
	"net/netip"
	"strings"

	"github.com/nameroute/nameroute/lists/entry"
)

// adblock is the rules of ad blockers as DNS filters read them (AdGuard Home,
// Hostlists, Adblock Plus):
//
//	||a.example^                    the name and all below it
//	@@||b.a.example^                an exception, whatever other rules say
//	||a.example^$important          takes precedence over exceptions
//	||example^$denyallow=a.example  but not these
//	||a.example^$badfilter          cancels the rule ||a.example^
//	||*.a.example^                  names below only
//	|a.example^  a.example          the name alone
//	/expression/                    names that it matches somewhere
//	0.0.0.0 a.example               as in hosts
//
// Rules with modifiers that restrict them to some clients, types or answers are skipped: a
// list cannot express them. So are cosmetic rules.
type adblock struct{}

const (
	reasonCosmetic  = "a cosmetic rule: it is about the content of pages"
	reasonModifier  = "a modifier that restricts the rule to some queries or answers"
	reasonBadfilter = "one of more $badfilter rules than are supported"
	reasonDenyallow = "$denyallow without names"
	maxBadfilters   = 100_000
)

func (adblock) name() string { return "adblock" }

func (adblock) suits(file string) bool {
	return strings.Contains(file, "adblock") || strings.Contains(file, "adguard") || strings.Contains(file, "easylist")
}

func (adblock) sniff(head []byte) int {
	for line := range strings.Lines(string(head)) {
		if strings.HasPrefix(line, "[Adblock") || strings.HasPrefix(line, "[AdGuard") || strings.HasPrefix(line, "[uBlock") {
			return len(head)
		}
	}
	// Without any '^' or modifier it may as well be AutoProxy.
	mine := 0
	n := countLines(head, func(line string) bool {
		rule, excepted := strings.CutPrefix(line, "@@")
		named := excepted || strings.HasPrefix(rule, "|")
		if named && strings.ContainsAny(rule, "^") || hasModifier(rule) || isCosmetic(line) {
			mine++
			return true
		}
		return named
	})
	if mine == 0 {
		return 0
	}
	return n
}

// isCosmetic reports whether a rule is about the content of pages: these contain two '#' or
// '$$'.
func isCosmetic(line string) bool {
	if strings.HasPrefix(line, "||") || strings.HasPrefix(line, "@@") || strings.HasPrefix(line, "/") {
		return false
	}
	for _, mark := range []string{"##", "#@#", "#?#", "#$#", "#%#", "#@$#", "#@%#", "$$"} {
		if i := strings.Index(line, mark); i >= 0 && i+len(mark) < len(line) && strings.IndexByte("# \t=", line[i+len(mark)]) < 0 {
			return true
		}
	}
	return false
}

func (adblock) parse(r io.Reader, s *Sink) error {
	a := &adblockRules{s: s, seed: maphash.MakeSeed(), bad: map[uint64]bool{}}
	if s.rewind != nil {
		// Which rules are cancelled is known only at the end of the file.
		if err := a.badfilters(r); err != nil {
			return err
		}
		var err error
		if r, err = s.rewind(); err != nil {
			return err
		}
	}
	return eachLine(r, s, "![", func(line string) { a.line(line) })
}

// adblockRules reads rules. bad are the hashes of those that are cancelled.
type adblockRules struct {
	s    *Sink
	seed maphash.Seed
	bad  map[uint64]bool
}

func (a *adblockRules) badfilters(r io.Reader) error {
	br := bufio.NewReaderSize(r, maxLine)
	for {
		raw, err := br.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			err = discardLine(br)
		} else if line := strings.TrimSpace(string(raw)); strings.Contains(line, "badfilter") {
			rule, mods := cutModifiers(line)
			if rest, ok := without(mods, "badfilter"); ok && len(a.bad) < maxBadfilters {
				a.bad[a.key(rule, rest)] = true
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (a *adblockRules) key(rule string, mods []string) uint64 {
	return maphash.String(a.seed, rule+"$"+strings.Join(mods, ","))
}

func without(mods []string, drop string) (rest []string, found bool) {
	for _, m := range mods {
		if m == drop {
			found = true
		} else {
			rest = append(rest, m)
		}
	}
	return rest, found
}

// cutModifiers splits a rule at the '$' before its modifiers.
func cutModifiers(line string) (rule string, mods []string) {
	from := 0
	if body := strings.TrimPrefix(line, "@@"); strings.HasPrefix(body, "/") { // the expression may contain a '$'
		from = strings.LastIndexByte(line, '/')
	}
	at := strings.LastIndexByte(line[from:], '$')
	if at < 0 {
		return line, nil
	}
	return line[:from+at], strings.Split(line[from+at+1:], ",")
}

func (a *adblockRules) line(line string) {
	s := a.s
	switch {
	case isCosmetic(line):
		s.skip(line, reasonCosmetic)
		return
	case line[0] == '#':
		s.Lines--
		return
	}
	if address, names := cutSpace(uncomment(line)); names != "" {
		if isHostsAddress(address) {
			hostsLine(line, s)
			return
		}
	}
	rule, mods := cutModifiers(uncomment(line))
	if _, ok := without(mods, "badfilter"); ok {
		if s.rewind == nil || len(a.bad) == maxBadfilters {
			s.skip(line, reasonBadfilter)
		} else {
			s.Lines--
		}
		return
	}
	if len(a.bad) > 0 && a.bad[a.key(rule, mods)] {
		s.Lines--
		return
	}
	a.rule(line, rule, mods)
}

func (a *adblockRules) rule(line, rule string, mods []string) {
	s := a.s
	rule, excepted := strings.CutPrefix(rule, "@@")
	exception, deny := entry.NoException, ""
	if excepted {
		exception = entry.Always
	}
	for _, m := range mods {
		key, value, _ := strings.Cut(strings.TrimSpace(m), "=")
		switch key {
		case "important":
			if !excepted {
				exception = entry.Insist
			}
		case "denyallow":
			deny = value
		case "all", "document", "doc", "popup", "network", "":
		case "third-party", "3p", "~first-party":
			if excepted { // exceptions are read narrowly and entries widely, as in autoproxy
				s.skip(line, reasonModifier)
				return
			}
		default:
			s.skip(line, reasonModifier)
			return
		}
	}
	e, p, reason := adblockPattern(rule)
	switch {
	case reason == "" && p.IsValid() && excepted:
		s.skip(line, reasonAddrExcept)
	case reason == "" && p.IsValid():
		s.putPrefix(p)
	case reason == "" && deny != "":
		a.denyallow(line, e, exception, deny)
	case reason == "":
		e.Exception = exception
		s.put(e)
	default:
		s.skip(line, reason)
	}
}

// denyallow puts an entry and its exceptions for longer names.
func (a *adblockRules) denyallow(line string, e entry.Entry, exception entry.Exception, deny string) {
	if exception == entry.Always {
		a.s.skip(line, reasonModifier)
		return
	}
	var but []entry.Entry
	for text := range strings.SplitSeq(deny, "|") {
		name, reason := entry.CanonicalName(text)
		if reason != "" {
			a.s.skip(line, reasonDenyallow)
			return
		}
		but = append(but, entry.Entry{Kind: entry.Suffix, Exception: entry.Specific, Text: name})
	}
	a.s.put(e) // not Insist, which takes precedence over the exceptions
	for _, b := range but {
		a.s.put(b)
	}
}

// adblockPattern parses the part of a rule that contains names.
func adblockPattern(rule string) (e entry.Entry, p netip.Prefix, reason string) {
	if len(rule) > 2 && rule[0] == '/' && rule[len(rule)-1] == '/' {
		text := strings.ReplaceAll(rule[1:len(rule)-1], `\/`, "/")
		return entry.Entry{Kind: entry.Regexp, Text: text}, p, entry.CheckRegexp(text)
	}
	host, suffix := strings.CutPrefix(rule, "||")
	exact := false
	if !suffix {
		host, exact = strings.CutPrefix(rule, "|")
		for _, scheme := range []string{"https://", "http://", "://"} {
			host = strings.TrimPrefix(host, scheme)
		}
	}
	host, more := cutHost(host)
	if more {
		return e, p, reasonPathRule
	}
	if p, ok := entry.ParsePrefix(host); ok {
		return e, p, ""
	}
	if strings.Contains(host, "*") {
		return adblockGlob(host, suffix)
	}
	if !suffix && !exact && !strings.Contains(host, ".") {
		return e, p, reasonURLWord
	}
	name, reason := entry.CanonicalName(host)
	e = entry.Entry{Kind: entry.Full, Text: name}
	if suffix {
		e.Kind = entry.Suffix
	}
	return e, p, reason
}

func adblockGlob(host string, suffix bool) (e entry.Entry, p netip.Prefix, reason string) {
	if suffix || strings.HasPrefix(host, "*.") {
		e, reason = entry.ParsePattern(host)
		return e, p, reason
	}
	expr, reason := entry.Glob(host, false)
	return entry.Entry{Kind: entry.Regexp, Text: expr}, p, reason
}

const reasonPathRule = "a rule on a part of a host: a path or port"
