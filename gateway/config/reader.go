package config

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/nameroute/nameroute/gateway/pkg/problem"
)

// reader walks the YAML tree of one file. It collects problems instead of stopping at
// the first, and the position of each key for the checks that follow.
type reader struct {
	file      string // as messages print it
	dir       string // absolute, and the base of relative paths
	problems  problem.Problems
	notes     problem.Problems // see gateway.Config.Notes
	positions problem.Positions
}

// problem adds a problem with a key.
func (r *reader) problem(key, value, why, want string) {
	r.problemAt(r.positions.Find(key), key, value, why, want)
}

func (r *reader) problemAt(at problem.Position, key, value, why, want string) {
	r.problems = append(r.problems, problem.Problem{
		File: r.file, Line: at.Line, Column: at.Column, Key: key, Value: value, Why: why, Want: want,
	})
}

// note adds what is allowed and has a consequence.
func (r *reader) note(key, value, why, want string) {
	at := r.positions.Find(key)
	r.notes = append(r.notes, problem.Problem{
		File: r.file, Line: at.Line, Column: at.Column, Key: key, Value: value, Why: why, Want: want,
	})
}

// wrong reports whether there is a problem with the key already.
func (r *reader) wrong(key string) bool {
	return slices.ContainsFunc(r.problems, func(p problem.Problem) bool { return p.Key == key })
}

// given reports whether the file has the key, with a valid value or not.
func (r *reader) given(key string) bool { return r.positions.Has(key) || r.wrong(key) }

// field is one key that a mapping may have. Without a value it has its default, unless
// want says that it needs one.
type field struct {
	key     string
	read    func(value)
	want    string
	renamed string // its new name: the key is an error
}

// value is one node of the tree, with its dotted path.
type value struct {
	r    *reader
	key  string
	node *yaml.Node
}

// problem adds a problem with the value.
func (v value) problem(why, want string) { v.problemWith(v.shown(), why, want) }

func (v value) problemWith(shown, why, want string) {
	v.r.problemAt(positionOf(v.node), v.key, shown, why, want)
}

func positionOf(n *yaml.Node) problem.Position {
	return problem.Position{Line: n.Line, Column: n.Column}
}

// shown returns the value as messages print it.
func (v value) shown() string {
	if v.node.Kind != yaml.ScalarNode {
		return ""
	}
	if v.node.Value == "" {
		return `""`
	}
	return v.node.Value
}

// kind describes the type of a value in the terms of YAML.
func (v value) kind() string {
	switch {
	case v.node.Kind == yaml.MappingNode:
		return "a mapping"
	case v.node.Kind == yaml.SequenceNode:
		return "a list"
	case v.empty():
		return "nothing"
	}
	return "a single value"
}

// empty reports whether the key has no value, or null.
func (v value) empty() bool {
	return v.node.Kind == yaml.ScalarNode && v.node.ShortTag() == "!!null"
}

// isMapping reports whether the value is a mapping, even one without keys.
func (v value) isMapping() bool { return v.empty() || v.node.Kind == yaml.MappingNode }

// fields reads a mapping with known keys. An empty one has only defaults.
func (v value) fields(fields []field) {
	var known []string
	for _, f := range fields {
		if f.renamed == "" {
			known = append(known, f.key)
		}
	}
	v.entries("keys such as "+known[0]+":", func(name string, key, child value) {
		for _, f := range fields {
			if f.key != name {
				continue
			}
			switch {
			case f.renamed != "":
				key.problemWith("", "was renamed", "want "+f.renamed)
			case !child.empty():
				f.read(child)
			case f.want != "":
				child.problemWith("", "has no value", f.want)
			}
			return
		}
		why, want := "unknown key", problem.DidYouMean(name, known)
		if name == "<<" {
			why, want = "merge keys are not supported", "want the keys themselves"
		}
		key.problemWith("", why, want)
	})
}

// named reads a mapping whose keys are names that the user chose.
func (v value) named(want string, each func(name string, child value)) {
	v.entries(want, func(name string, key, child value) {
		if why, want := badName(name); why != "" {
			key.problemWith("", why, want)
			return
		}
		// What is missing in an entry is reported at its name.
		v.r.positions[key.key] = positionOf(key.node)
		each(name, child)
	})
}

// entries calls each for every key of a mapping, except for duplicates.
func (v value) entries(want string, each func(name string, key, child value)) {
	if v.empty() {
		return
	}
	if !v.isMapping() {
		v.problem("is "+v.kind(), "want "+want)
		return
	}
	first := make(map[string]int, len(v.node.Content)/2)
	for i := 0; i+1 < len(v.node.Content); i += 2 {
		key, child := resolve(v.node.Content[i]), resolve(v.node.Content[i+1])
		if key.Kind != yaml.ScalarNode {
			v.r.problemAt(positionOf(key), v.key, "", "a key must be a single value", "")
			continue
		}
		path := strings.TrimPrefix(v.key+"."+key.Value, ".")
		at := value{v.r, path, v.node.Content[i]}
		if line, again := first[key.Value]; again {
			at.problemWith("", fmt.Sprintf("duplicate key, first on line %d", line), "want one")
			continue
		}
		first[key.Value] = at.node.Line
		to := value{v.r, path, child}
		if !to.empty() {
			v.r.positions[path] = positionOf(v.node.Content[i+1])
		}
		each(key.Value, at, to)
	}
}

// items returns the values of a list. A single value is a list of one.
func (v value) items(want string) []value {
	switch v.node.Kind {
	case yaml.SequenceNode:
		items := make([]value, len(v.node.Content))
		for i, n := range v.node.Content {
			items[i] = value{v.r, v.key, resolve(n)}
		}
		return items
	case yaml.ScalarNode:
		return []value{v}
	}
	v.problem("is "+v.kind(), want)
	return nil
}

// addOnce adds what an item says to a list, which has everything once.
func addOnce[T comparable](all *[]T, item value, v T) {
	if slices.Contains(*all, v) {
		item.problem("duplicate", "")
		return
	}
	*all = append(*all, v)
}

// resolve follows an alias to its anchor. An anchor is never an alias itself, and the
// depth of our files is fixed, so aliases that contain themselves are harmless.
func resolve(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}
