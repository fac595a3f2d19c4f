package provider

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/nameroute/nameroute/gateway/pkg/problem"
)

// parser walks a file's lines and collects every problem instead of stopping at
// the first.
type parser struct {
	conf     *Conf
	problems problem.Problems
	section  string         // "interface", "peer", "" before the first, "?" in an unknown one
	first    int            // line of the first [Interface], 0 where there is none
	given    map[string]int // lower-case keys of the [Interface] section, with their line
	amnezia  bool           // it is a file of AmneziaWG
	unread   map[int]bool   // peers (by index) with a key that could not be read
}

// setting is one KEY = VALUE line.
type setting struct {
	line  int
	key   string // as the file writes it
	value string
}

// Parse reads a wg-quick file as providers ship it. Keys are case-insensitive,
// # starts a comment, lists may be separated by commas or white space or repeated, and of a
// repeated single value the last counts, as wg-quick(8) and wg(8) have it. The error is problem.Problems with
// every problem at once. Neither it nor what is ignored contains a key.
func Parse(file string, data []byte) (*Conf, error) {
	p := &parser{conf: &Conf{File: file}, given: map[string]int{}, unread: map[int]bool{}}
	if bytes.HasPrefix(data, []byte{0xff, 0xfe}) || bytes.HasPrefix(data, []byte{0xfe, 0xff}) {
		p.problem(setting{line: 1}, "", "UTF-16 text", "want the file saved as UTF-8")
		return nil, p.problems
	}
	if len(data) > maxConfSize {
		p.problem(setting{line: 1}, "", "too big", fmt.Sprintf("want a WireGuard file of at most %d bytes", maxConfSize))
		return nil, p.problems
	}
	text := strings.ReplaceAll(string(bytes.TrimPrefix(data, []byte("\ufeff"))), "\r\n", "\n")
	for i, line := range strings.Split(strings.ReplaceAll(text, "\r", "\n"), "\n") {
		line, _, _ = strings.Cut(line, "#")
		if line = strings.TrimSpace(line); line != "" {
			p.line(i+1, line)
		}
	}
	p.checkFile()
	if len(p.problems) > 0 {
		return nil, p.problems
	}
	p.dropShadowed()
	return p.conf, nil
}

func (p *parser) line(n int, text string) {
	if strings.HasPrefix(text, "[") {
		p.header(n, text)
		return
	}
	key, value, ok := strings.Cut(text, "=")
	s := setting{n, withoutSpace(key), strings.TrimSpace(value)}
	switch {
	case p.section == "?": // its header was reported, which says enough
	case strings.HasPrefix(text, ";"), strings.HasPrefix(text, "//"):
		p.problem(setting{line: n}, show("", text), "not a setting", "want a # before a comment")
	case !ok || s.key == "":
		p.problem(setting{line: n}, show("", text), "not a setting", "want KEY = VALUE")
	case p.section == "":
		p.problem(s, "", "before the first section", "want it below [Interface] or [Peer]")
	case p.section == "interface":
		p.given[strings.ToLower(s.key)] = n
		if !p.interfaceKey(s) {
			p.unknownKey(s)
		}
	default:
		if !p.peerKey(s, &p.conf.Peers[len(p.conf.Peers)-1]) {
			p.unknownKey(s)
		}
	}
}

func (p *parser) header(n int, text string) {
	switch strings.ToLower(strings.Join(strings.Fields(text), "")) {
	case "[interface]":
		p.section = "interface"
		if p.first == 0 {
			p.first = n
		}
	case "[peer]":
		p.section = "peer"
		p.conf.Peers = append(p.conf.Peers, Peer{Line: n})
	default:
		p.section = "?"
		p.problem(setting{line: n}, show("", text), "unknown section", "want [Interface] or [Peer]")
	}
}

func (p *parser) interfaceKey(s setting) bool {
	c := p.conf
	switch strings.ToLower(s.key) {
	case "privatekey":
		p.key(s, &c.PrivateKey, "wg genkey")
	case "listenport":
		c.ListenPort = p.port(s)
	case "address":
		c.Addresses = append(c.Addresses, p.prefixes(s, false)...)
	case "dns":
		p.dns(s)
	case "mtu":
		if c.MTU = 0; s.value != "" { // wg-quick chooses it where it is empty
			c.MTU = p.number(s, 576, 65535)
		}
	case "fwmark":
		p.fwMark(s)
		c.Ignored = append(c.Ignored, p.note(s, "not used: every tunnel carries the mark of wan"))
	case "table", "saveconfig", "preup", "postup", "predown", "postdown":
		p.unused(s)
	default:
		return false
	}
	return true
}

// unused notes a key that has no effect here.
func (p *parser) unused(s setting) {
	c := p.conf
	switch key := strings.ToLower(s.key); {
	case s.value == "":
	case key == "table":
		c.Ignored = append(c.Ignored, p.note(s, "not used: every route has a routing table of its own"))
	case key == "saveconfig":
		c.Ignored = append(c.Ignored, p.note(s, "not used: the provider's file is never written"))
	default:
		c.Hooks = append(c.Hooks, p.hook(s))
	}
}

func (p *parser) peerKey(s setting, peer *Peer) bool {
	switch strings.ToLower(s.key) {
	case "publickey":
		if !p.key(s, &peer.PublicKey, "wg pubkey") {
			p.unread[len(p.conf.Peers)-1] = true
		}
	case "presharedkey":
		if withoutSpace(s.value) != (wgtypes.Key{}).String() { // which is none
			p.key(s, &peer.PresharedKey, "wg genpsk")
		}
	case "allowedips":
		for _, a := range p.prefixes(s, true) {
			if !slices.Contains(peer.AllowedIPs, a) {
				peer.AllowedIPs = append(peer.AllowedIPs, a)
			}
		}
	case "endpoint":
		p.endpoint(s, &peer.Endpoint)
	case "persistentkeepalive":
		p.keepalive(s, peer)
	default:
		return false
	}
	return true
}

// checkFile checks what no single line shows.
func (p *parser) checkFile() {
	c := p.conf
	at := setting{line: max(p.first, 1)}
	if p.first == 0 {
		p.problem(at, "", "no [Interface]", "want the file as the provider gave it, with [Interface] and [Peer]")
		return
	}
	if p.given["privatekey"] == 0 {
		p.missing(at, "PrivateKey", "want the key that the provider gave for this tunnel")
	}
	if p.given["address"] == 0 {
		p.missing(at, "Address", "want the address that the provider gave for this tunnel")
	}
	if len(c.Peers) == 0 {
		p.problem(at, "", "no [Peer]", "want the provider's end of the tunnel")
	}
	p.checkPeers()
	v4, v6 := c.Families()
	if len(p.problems) == 0 && !v4 && !v6 {
		p.problem(at, "", "no address family is usable",
			"want an Address and an AllowedIPs of one family (IPv6 with an MTU of at least 1280)")
	}
}

func (p *parser) checkPeers() {
	seen := map[wgtypes.Key]int{}
	own := p.conf.PrivateKey.PublicKey()
	for i, peer := range p.conf.Peers {
		at := setting{line: peer.Line, key: "PublicKey"}
		switch first, duplicate := seen[peer.PublicKey]; {
		case p.unread[i]:
		case peer.PublicKey == wgtypes.Key{}:
			p.missing(at, "PublicKey", "want the key of the provider's end")
		case peer.PublicKey == own:
			p.problem(at, "", "belongs to this file's own PrivateKey", "want the key of the provider's end")
		case duplicate:
			p.problem(at, "", fmt.Sprintf("is also that of the [Peer] on line %d", first), "want one [Peer] for each key")
		}
		seen[peer.PublicKey] = peer.Line
	}
}

// dropShadowed removes AllowedIPs that a later peer has too: WireGuard gives a prefix
// to one peer only, the last that names it.
func (p *parser) dropShadowed() {
	owner := map[netip.Prefix]int{}
	for i, peer := range p.conf.Peers {
		for _, a := range peer.AllowedIPs {
			owner[a] = i
		}
	}
	for i := range p.conf.Peers {
		peer := &p.conf.Peers[i]
		peer.AllowedIPs = slices.DeleteFunc(peer.AllowedIPs, func(a netip.Prefix) bool {
			last := owner[a]
			if last != i {
				p.conf.Ignored = append(p.conf.Ignored, p.note(setting{peer.Line, "AllowedIPs", a.String()},
					fmt.Sprintf("not used here: the [Peer] on line %d has it too, and the last one gets it", p.conf.Peers[last].Line)))
			}
			return last != i
		})
	}
}

func (p *parser) problem(s setting, value, why, want string) {
	p.problems = append(p.problems, problem.Problem{
		File: p.conf.File, Line: s.line, Key: showKey(s.key), Value: value, Why: why, Want: want,
	})
}

func (p *parser) missing(at setting, key, want string) {
	at.key = key
	p.problem(at, "", "missing", want)
}

// note describes a setting that has no effect.
func (p *parser) note(s setting, why string) problem.Problem {
	value := s.value
	if hasSecret(value) {
		value = hidden
	}
	return problem.Problem{File: p.conf.File, Line: s.line, Key: s.key, Value: value, Why: why}
}

func (p *parser) hook(s setting) problem.Problem {
	n := p.note(s, "hook commands are not run: routing and firewall are nameroute's own")
	n.Want = "want the line removed, or hooks: ignore on the route"
	return n
}
