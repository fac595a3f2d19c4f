package lists

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/nameroute/nameroute/lists/entry"
)

// singbox is the source form of sing-box's rule-sets, versions 1 to 5:
//
//	{"version": 3, "rules": [{"domain": ["a.example"], "domain_suffix": ["b.example"],
//	 "domain_keyword": ["c"], "domain_regex": ["^d\\."], "ip_cidr": ["192.0.2.0/24"]}]}
//
// Logical rules of mode "or" are read part by part. Rules that are inverted, of mode
// "and", or about anything but names and destination addresses are skipped.
type singbox struct{}

// maxRuleSet is the newest version that is known.
const maxRuleSet = 5

var errJSON = errors.New("not a rule-set of sing-box")

func (singbox) name() string { return "singbox" }

func (singbox) suits(file string) bool { return strings.HasSuffix(file, ".json") }

func (singbox) sniff(head []byte) int {
	text := strings.TrimSpace(strings.TrimPrefix(string(head), "\ufeff"))
	if strings.HasPrefix(text, "{") && (strings.Contains(text, `"rules"`) || strings.Contains(text, `"version"`)) {
		return len(head)
	}
	return 0
}

func (singbox) parse(r io.Reader, s *sink) error {
	d := json.NewDecoder(&jsonGuard{r: r})
	if err := ruleSet(d, s); err != nil {
		return fmt.Errorf("sing-box rule-set: %w", cut(err))
	}
	return nil
}

func ruleSet(d *json.Decoder, s *sink) error {
	if err := delim(d, '{'); err != nil {
		return err
	}
	known := false
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return err
		}
		switch key {
		case "version":
			var v int
			if err := d.Decode(&v); err != nil {
				return err
			}
			if v < 1 || v > maxRuleSet {
				return fmt.Errorf("version %d: known are 1 to %d", v, maxRuleSet)
			}
		case "rules":
			known = true
			err = eachElement(d, func() error { return jsonRule(d, s, 0) })
		default:
			err = skipValue(d)
		}
		if err != nil {
			return err
		}
	}
	if !known {
		return errJSON
	}
	_, err := d.Token()
	return err
}

func delim(d *json.Decoder, want json.Delim) error {
	t, err := d.Token()
	if err == nil && t != want {
		err = errJSON
	}
	return err
}

// eachElement calls element before each element of an array.
func eachElement(d *json.Decoder, element func() error) error {
	if err := delim(d, '['); err != nil {
		return err
	}
	for d.More() {
		if err := element(); err != nil {
			return err
		}
	}
	_, err := d.Token()
	return err
}

// jsonRule reads a rule and passes it on. The parts of a logical "or" are rules by
// themselves, as long as nothing around them narrows them.
func jsonRule(d *json.Decoder, s *sink, depth int) error {
	h, parts, err := readJSONRule(d, depth)
	if err != nil {
		return err
	}
	return emitAll(h, parts, s)
}

// emitAll passes on a rule, or the parts of a logical one.
func emitAll(h *headless, parts []*headless, s *sink) error {
	if parts == nil || h.invert || h.and || h.narrowed != "" {
		return h.emit(s)
	}
	for _, p := range parts {
		if err := p.emit(s); err != nil {
			return err
		}
	}
	return nil
}

func readJSONRule(d *json.Decoder, depth int) (h *headless, parts []*headless, err error) {
	if depth > maxNested {
		return nil, nil, errHeadless
	}
	if err := delim(d, '{'); err != nil {
		return nil, nil, err
	}
	h = &headless{}
	mode := ""
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, nil, err
		}
		name, ok := key.(string)
		switch {
		case !ok:
			return nil, nil, errJSON
		case name == "rules":
			parts, err = readJSONParts(d, depth)
		case name == "mode":
			err = d.Decode(&mode)
		case name == "invert":
			err = d.Decode(&h.invert)
		case name == "type":
			err = skipValue(d)
		default:
			err = jsonCondition(d, name, h)
		}
		if err != nil {
			return nil, nil, err
		}
	}
	h.and = parts != nil && mode != "or"
	_, err = d.Token()
	return h, parts, err
}

func readJSONParts(d *json.Decoder, depth int) ([]*headless, error) {
	parts := []*headless{}
	total := 0
	err := eachElement(d, func() error {
		h, inner, err := readJSONRule(d, depth+1)
		if err != nil {
			return err
		}
		if inner != nil && !h.invert && !h.and && h.narrowed == "" {
			parts = append(parts, inner...)
		} else {
			parts = append(parts, h)
		}
		if total += h.bytes + 256; total > maxHeadless {
			return errHeadless
		}
		return nil
	})
	return parts, err
}

// jsonCondition reads a condition; one value may stand for a list of one.
func jsonCondition(d *json.Decoder, name string, h *headless) error {
	var take func(text string) error
	switch name {
	case "domain":
		take = func(t string) error { return h.add(entry.Full, t) }
	case "domain_suffix":
		take = h.suffix
	case "domain_keyword":
		take = func(t string) error { return h.add(entry.Keyword, t) }
	case "domain_regex":
		take = func(t string) error { return h.add(entry.Regexp, t) }
	case "ip_cidr":
		take = func(t string) error {
			p, ok := prefix(t)
			if !ok {
				return fmt.Errorf("ip_cidr %q: %s", printable(t), reasonPrefix)
			}
			h.addPrefix(p)
			return nil
		}
	default:
		h.narrowed = printable(name)
		return skipValue(d)
	}
	t, err := d.Token()
	if err != nil {
		return err
	}
	if one, ok := t.(string); ok {
		return take(one)
	}
	if t != json.Delim('[') {
		return errJSON
	}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return err
		}
		text, ok := t.(string)
		if !ok {
			return errJSON
		}
		if err := take(text); err != nil {
			return err
		}
	}
	_, err = d.Token()
	return err
}

// skipValue passes over a value of any kind, token by token.
func skipValue(d *json.Decoder) error {
	for depth := 0; ; {
		t, err := d.Token()
		if err != nil {
			return err
		}
		switch t {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
		if depth <= 0 {
			return nil
		}
	}
}

// jsonGuard refuses texts and nesting that the JSON decoder would hold in memory
// whatever their size.
type jsonGuard struct {
	r        io.Reader
	depth    int
	token    int // bytes of the string, number or word being read
	inString bool
	escaped  bool
}

func (g *jsonGuard) Read(p []byte) (int, error) {
	n, err := g.r.Read(p)
	for _, c := range p[:n] {
		g.token++
		switch {
		case g.inString && g.escaped:
			g.escaped = false
		case g.inString:
			g.escaped = c == '\\'
			g.inString = c != '"'
		case c == '"':
			g.inString, g.token = true, 0
		case c == '{' || c == '[':
			g.depth++
			g.token = 0
		case c == '}' || c == ']':
			g.depth--
			g.token = 0
		case c == ',' || c == ':' || c == ' ' || c == '\n' || c == '\t' || c == '\r':
			g.token = 0
		}
		if g.token > maxLine || g.depth > 2*maxNested+8 {
			return 0, fmt.Errorf("%w: a text of more than 64 KiB, or too deep", errJSON)
		}
	}
	return n, err
}
