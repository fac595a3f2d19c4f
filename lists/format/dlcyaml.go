package format

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/nameroute/nameroute/lists/format/ruleset"
)

// dlcyaml is the YAML into which domain-list-community is exported, with many lists in a
// file. A colon selects one, and attributes of its rules:
//
//	lists:
//	  - name: google
//	    length: 3
//	    rules:
//	      - domain:example.com:@cn,@ads
type dlcyaml struct{}

const reasonDLCYAML = "not a rule below rules:"

func (dlcyaml) name() string { return "dlcyaml" }

func (dlcyaml) suits(string) bool { return false }

func (dlcyaml) sniff(head []byte) int {
	lists, rules := false, false
	n := countLines(head, func(line string) bool {
		lists = lists || line == "lists:"
		rules = rules || line == "rules:"
		return true
	})
	if !lists || !rules {
		return 0
	}
	return n
}

func (dlcyaml) parse(r io.Reader, s *Sink) error {
	var filter attributeFilter
	category := ""
	if s.selector != "" {
		var err error
		if category, filter, err = parseSelector(s.selector); err != nil {
			return err
		}
		if filter.ambiguous() {
			return errors.New("an attribute that begins with ! cannot be selected here: want @-NAME for the rules without NAME")
		}
	}
	var names []string
	found := ""
	err := eachLine(r, s, "#", func(line string) {
		key, value, _ := strings.Cut(strings.TrimSpace(strings.TrimPrefix(line, "- ")), ":")
		value = unquote(strings.TrimSpace(value))
		switch {
		case strings.HasPrefix(line, "- ") && key == "name":
			names = append(names, value)
			if category == "" && len(names) == 1 || strings.EqualFold(value, category) {
				found = value
			}
		case key == "lists", key == "length", key == "rules":
		case !strings.HasPrefix(line, "- "):
			s.skip(line, reasonDLCYAML)
			return
		case found != "" && names[len(names)-1] == found:
			rule := unquote(uncomment(strings.TrimSpace(line[2:])))
			text := cutAttributes(rule)
			attributes := strings.FieldsFunc(strings.TrimPrefix(rule[len(text):], ":"), func(c rune) bool { return c == '@' || c == ',' || c == ' ' })
			if filter.matches(attributes) {
				plainRule(text, s)
			}
			return
		}
		s.Lines-- // it is no rule, or one of another list
	})
	switch {
	case err != nil:
		return err
	case category == "" && len(names) > 1:
		return fmt.Errorf("it holds %d lists: name one after a colon, FILE:%s", len(names), names[0])
	case found == "" && category != "":
		return ruleset.UnknownCategory(category, names)
	}
	return nil
}
