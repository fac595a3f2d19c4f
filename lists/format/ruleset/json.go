package ruleset

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/nameroute/nameroute/lists/entry"
)

// maxJSONText bounds a string, number or word, in bytes.
const maxJSONText = 64 << 10

var errJSON = errors.New("not a rule-set of sing-box")

// IsJSON reports whether the beginning of a file looks like a rule-set in JSON.
func IsJSON(head []byte) bool {
	text := strings.TrimSpace(strings.TrimPrefix(string(head), "\ufeff"))
	return strings.HasPrefix(text, "{") && (strings.Contains(text, `"rules"`) || strings.Contains(text, `"version"`))
}

// ReadJSON decodes the source form of sing-box's rule-sets, versions 1 to 5:
//
//	{"version": 3, "rules": [{"domain": ["a.example"], "domain_suffix": ["b.example"],
//	 "domain_keyword": ["c"], "domain_regex": ["^d\\."], "ip_cidr": ["192.0.2.0/24"]}]}
func ReadJSON(r io.Reader, yield func(*Rule) error) error {
	d := json.NewDecoder(&jsonGuard{r: r})
	if err := readRuleSet(d, yield); err != nil {
		return fmt.Errorf("sing-box rule-set: %w", unexpected(err))
	}
	return nil
}

func readRuleSet(d *json.Decoder, yield func(*Rule) error) error {
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
			if v < 1 || v > MaxVersion {
				return fmt.Errorf("version %d: known are 1 to %d", v, MaxVersion)
			}
		case "rules":
			known = true
			err = eachElement(d, func() error {
				r, err := readJSONRule(d, 0)
				if err != nil {
					return err
				}
				return r.emit(yield)
			})
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

// eachElement calls element at each element of an array.
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

func readJSONRule(d *json.Decoder, depth int) (*Rule, error) {
	if depth > maxNesting {
		return nil, errRuleSize
	}
	if err := delim(d, '{'); err != nil {
		return nil, err
	}
	r := &Rule{}
	mode := ""
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, err
		}
		name, ok := key.(string)
		switch {
		case !ok:
			return nil, errJSON
		case name == "rules":
			err = readJSONParts(d, r, depth)
		case name == "mode":
			err = d.Decode(&mode)
		case name == "invert":
			err = d.Decode(&r.Invert)
		case name == "type":
			err = skipValue(d)
		default:
			err = readJSONCondition(d, name, r)
		}
		if err != nil {
			return nil, err
		}
	}
	r.And = r.parts != nil && mode != "or"
	_, err := d.Token()
	return r, err
}

func readJSONParts(d *json.Decoder, r *Rule, depth int) error {
	r.parts = []*Rule{}
	total := 0
	return eachElement(d, func() error {
		part, err := readJSONRule(d, depth+1)
		if err != nil {
			return err
		}
		return r.addPart(part, &total)
	})
}

// readJSONCondition decodes a condition: a list of values, or one value.
func readJSONCondition(d *json.Decoder, name string, r *Rule) error {
	var add func(text string) error
	switch name {
	case "domain":
		add = func(t string) error { return r.add(entry.Full, t) }
	case "domain_suffix":
		add = r.addSuffix
	case "domain_keyword":
		add = func(t string) error { return r.add(entry.Keyword, t) }
	case "domain_regex":
		add = func(t string) error { return r.add(entry.Regexp, t) }
	case "ip_cidr":
		add = func(t string) error {
			p, ok := entry.ParsePrefix(t)
			if !ok {
				return fmt.Errorf("ip_cidr %q: %s", entry.Printable(t), entry.ReasonPrefix)
			}
			r.addPrefix(p)
			return nil
		}
	default:
		r.Other = entry.Printable(name)
		return skipValue(d)
	}
	t, err := d.Token()
	if err != nil {
		return err
	}
	if one, ok := t.(string); ok {
		return add(one)
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
		if err := add(text); err != nil {
			return err
		}
	}
	_, err = d.Token()
	return err
}

// skipValue skips a value of any kind, token by token.
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

// jsonGuard fails on texts and nesting that the JSON decoder would hold in memory whatever
// their size.
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
		if g.token > maxJSONText || g.depth > 2*maxNesting+8 {
			return 0, fmt.Errorf("%w: a text of more than 64 KiB, or too deep", errJSON)
		}
	}
	return n, err
}
