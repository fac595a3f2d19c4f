// Package yamlnode makes the nodes of YAML documents that are printed.
package yamlnode

import (
	"fmt"

	"go.yaml.in/yaml/v3"
)

// Mapping returns a mapping of keys and values in turn. A value is a node, or an argument
// of Scalar.
func Mapping(pairs ...any) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode}
	for _, p := range pairs {
		child, ok := p.(*yaml.Node)
		if !ok {
			child = Scalar(p)
		}
		n.Content = append(n.Content, child)
	}
	return n
}

// Scalar returns a string or a number. The encoder quotes a string that would be read as
// something else.
func Scalar(v any) *yaml.Node {
	n := &yaml.Node{}
	if s, ok := v.(string); ok {
		n.SetString(s)
		return n
	}
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: fmt.Sprint(v)}
}

// Hex returns a number in hexadecimal.
func Hex(v uint32) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: fmt.Sprintf("%#x", v)}
}

// Flow returns a list of strings on one line.
func Flow(items []string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
	for _, s := range items {
		n.Content = append(n.Content, Scalar(s))
	}
	return n
}
