package format

import (
	"errors"
	"slices"
	"strings"
)

// attributeFilter is the attributes that a rule must have, or must not have.
type attributeFilter struct {
	must, mustNot []string
	// either are attributes written with '!', which begins the names of some attributes and
	// negates others. known are the attributes that exist.
	either []string
	known  map[string]bool
}

// parseSelector parses CATEGORY@ATTRIBUTE@-ATTRIBUTE.
func parseSelector(selector string) (category string, f attributeFilter, err error) {
	category, rest, _ := strings.Cut(selector, "@")
	if category == "" {
		return "", f, errors.New("it holds many categories: name one after a colon, FILE:CATEGORY")
	}
	if rest != "" {
		f = newAttributeFilter(strings.Split(rest, "@"))
	}
	return category, f, nil
}

func newAttributeFilter(attributes []string) attributeFilter {
	f := attributeFilter{known: map[string]bool{}}
	for _, a := range attributes {
		a = strings.ToLower(a)
		switch {
		case strings.HasPrefix(a, "-"):
			f.mustNot = append(f.mustNot, a[1:])
		case strings.HasPrefix(a, "!"):
			f.either = append(f.either, a)
		case a != "":
			f.must = append(f.must, a)
		}
	}
	return f
}

// ambiguous reports whether the filter depends on the attributes that exist: all rules must
// be passed to addKnown before matches is called.
func (f *attributeFilter) ambiguous() bool { return len(f.either) > 0 }

func (f *attributeFilter) addKnown(attributes []string) {
	for _, a := range attributes {
		f.known[strings.ToLower(a)] = true
	}
}

func (f *attributeFilter) matches(attributes []string) bool {
	has := func(want string) bool {
		return slices.ContainsFunc(attributes, func(a string) bool { return strings.EqualFold(a, want) })
	}
	if slices.ContainsFunc(f.mustNot, has) {
		return false
	}
	for _, a := range f.must {
		if !has(a) {
			return false
		}
	}
	for _, a := range f.either {
		if f.known[a] && !has(a) || !f.known[a] && has(a[1:]) {
			return false
		}
	}
	return true
}
