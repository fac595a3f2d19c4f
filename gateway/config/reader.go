package config

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/nameroute/nameroute/gateway/pkg/problem"
)

// reader walks the YAML tree of one file. It collects what is wrong and goes on,
// and remembers where each key stands, for the checks that follow.
type reader struct {
	file      string // as the messages print it
	dir       string // absolute; relative paths are relative to it
	problems  problem.Problems
	notes     problem.Problems // see Config.Notes
	positions problem.Positions
}

// problem notes a problem with a key that is found by its path.
func (r *reader) problem(key, value, why, want string) {
	r.problemAt(r.positions.Find(key), key, value, why, want)
}

func (r *reader) problemAt(at problem.Position, key, value, why, want string) {
	r.problems = append(r.problems, problem.Problem{
		File: r.file, Line: at.Line, Column: at.Column, Key: key, Value: value, Why: why, Want: want,
	})
}

// wrong reports whether the value of a key is a problem already.
func (r *reader) wrong(key string) bool {
	return slices.ContainsFunc(r.problems, func(p problem.Problem) bool { return p.Key == key })
}

// given reports whether the user meant to set the key, rightly or not.
func (r *reader) given(key string) bool { return r.positions.Has(key) || r.wrong(key) }

// field is one key that a mapping may have. Without a value it means its default,
// unless want says what it must have.
type field struct {
	key     string
	read    func(value)
	want    string
	renamed string // its new name: the key is an error
}

// value is one place in the tree, with its dotted path.
type value struct {
	r    *reader
	key  string
	node *yaml.Node
}

// problem says what is wrong with the value.
func (v value) problem(why, want string) { v.problemWith(v.shown(), why, want) }

func (v value) problemWith(shown, why, want string) {
	v.r.problemAt(positionOf(v.node), v.key, shown, why, want)
}

func positionOf(n *yaml.Node) problem.Position {
	return problem.Position{Line: n.Line, Column: n.Column}
}

// shown is the value as a message prints it.
func (v value) shown() string {
	if v.node.Kind != yaml.ScalarNode {
		return ""
	}
	if v.node.Value == "" {
		return `""`
	}
	return v.node.Value
}

// kind names what a value is, in words of somebody who reads YAML.
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

// empty reports a key without a value, or with null.
func (v value) empty() bool {
	return v.node.Kind == yaml.ScalarNode && v.node.ShortTag() == "!!null"
}

// isMapping reports a mapping, even one without keys.
func (v value) isMapping() bool { return v.empty() || v.node.Kind == yaml.MappingNode }

// fields reads a mapping whose keys are known. An empty one has only defaults.
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
			why, want = "merge keys are not read", "write the keys out"
		}
		key.problemWith("", why, want)
	})
}

// named reads a mapping from names that the user chose to something.
func (v value) named(want string, each func(name string, child value)) {
	v.entries(want, func(name string, key, child value) {
		if why, want := badName(name); why != "" {
			key.problemWith("", why, want)
			return
		}
		// What is missing in an entry is reported where its name stands.
		v.r.positions[key.key] = positionOf(key.node)
		each(name, child)
	})
}

// entries calls each for every key of a mapping that is not a duplicate.
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
			v.r.problemAt(positionOf(key), v.key, "", "has a key that is not a word", "")
			continue
		}
		path := strings.TrimPrefix(v.key+"."+key.Value, ".")
		at := value{v.r, path, v.node.Content[i]}
		if line, again := first[key.Value]; again {
			at.problemWith("", fmt.Sprintf("given twice, first on line %d", line), "keep one")
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

// items are the values of a list; a single value is a list of one.
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

// resolve follows an alias to what it stands for. An anchor is never an alias
// itself, and the depth of our files is fixed, so that aliases that contain
// themselves do no harm.
func resolve(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}
