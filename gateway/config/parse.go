// Package config reads gateway.yaml into a gateway.Config: strictly, with every problem
// of the file at once, each at its position and with what would be right. YAML prints a
// configuration with every default written out.
package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/pkg/problem"
	"github.com/nameroute/nameroute/gateway/pkg/statefile"
)

// Load reads a gateway.yaml. The error is that of reading the file, or
// problem.Problems.
func Load(file string) (*gateway.Config, error) {
	data, err := statefile.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	return Parse(file, data)
}

// Parse reads the content of a gateway.yaml. It is strict: an unknown key is an error,
// and the error is problem.Problems with everything that is wrong. file is the name that
// messages use, and relative paths are relative to its directory. An empty file is a
// gateway without routes.
func Parse(file string, data []byte) (*gateway.Config, error) {
	dir, err := filepath.Abs(filepath.Dir(file))
	if err != nil {
		return nil, fmt.Errorf("directory of %s: %w", file, err)
	}
	r := &reader{file: file, dir: dir, positions: problem.Positions{}}
	c := &builder{defaults(file), r}
	if root := r.document(data); root != nil && len(r.problems) == 0 {
		value{r: r, node: resolve(root)}.fields(c.fields())
		c.check()
	}
	c.Positions = r.positions
	if len(r.problems) > 0 {
		r.problems.Sort()
		return nil, r.problems
	}
	return c.Config, nil
}

// builder fills in a configuration while its file is read.
type builder struct {
	*gateway.Config
	*reader
}

func defaults(file string) *gateway.Config {
	return &gateway.Config{
		File:     file,
		Mask:     gateway.DefaultMask,
		Priority: gateway.DefaultPriority,
		SetSize:  gateway.DefaultSetSize,
		Lifetime: gateway.Lifetime{Floor: gateway.DefaultFloor, Grace: gateway.DefaultGrace, Ceiling: gateway.DefaultCeiling},
		Owner:    gateway.OwnerAuto,

		CheckInterval: gateway.DefaultCheckInterval,
	}
}

// document reads the only document of a file; nil is an empty one.
func (r *reader) document(data []byte) *yaml.Node {
	if !utf8.Valid(data) {
		r.problemAt(placeIn(data, firstInvalid(data)), "", "", "not UTF-8 text", "")
		return nil
	}
	var root *yaml.Node
	for d := yaml.NewDecoder(bytes.NewReader(data)); ; {
		var doc yaml.Node
		err := d.Decode(&doc)
		switch {
		case errors.Is(err, io.EOF):
			return root
		case err != nil:
			r.syntax(err, data)
			return nil
		case len(doc.Content) == 0 || value{node: doc.Content[0]}.empty():
		case root != nil:
			r.problemAt(positionOf(doc.Content[0]), "", "", "second document", "want one")
			return nil
		default:
			root = doc.Content[0]
		}
	}
}

var yamlError = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)$`)

// syntax turns an error of the YAML parser into a problem. The parser, unlike the
// scanner below it, counts lines from 0, and omits line 0.
func (r *reader) syntax(err error, data []byte) {
	at, why, want := problem.Position{Line: 1}, err.Error(), ""
	if m := yamlError.FindStringSubmatch(why); m != nil {
		why = m[2]
		if line, err := strconv.Atoi(m[1]); err == nil {
			at.Line = line
			if strings.HasPrefix(why, "did not find expected") {
				at.Line++
			}
		}
	}
	lines := bytes.Split(data, []byte("\n"))
	if control := bytes.IndexFunc(data, isControl); control >= 0 {
		at = placeIn(data, control)
	} else if i := at.Line - 1; i < len(lines) && bytes.Contains(lines[i], []byte("\t")) {
		want = "indent with spaces, not tabs"
	}
	r.problemAt(at, "", "", "not YAML", strings.TrimSuffix(why+": "+want, ": "))
}

func isControl(c rune) bool {
	return c < ' ' && c != '\t' && c != '\n' && c != '\r' || c == 0x7f
}

func firstInvalid(data []byte) int {
	for i := 0; i < len(data); {
		c, size := utf8.DecodeRune(data[i:])
		if c == utf8.RuneError && size <= 1 {
			return i
		}
		i += size
	}
	return len(data)
}

func placeIn(data []byte, offset int) problem.Position {
	before := data[:offset]
	return problem.Position{
		Line:   bytes.Count(before, []byte("\n")) + 1,
		Column: offset - bytes.LastIndexByte(before, '\n'),
	}
}

// fields returns the keys of gateway.yaml.
func (c *builder) fields() []field {
	return []field{
		{key: "lan", read: func(v value) { c.LAN = v.links() }},
		{key: "wan", read: c.readWAN},
		{key: "wan_resolvers", read: func(v value) { c.WANResolvers, c.WANHanded = v.resolversOrDHCP() }},
		{key: "mask", read: c.readMask},
		{key: "exclude", read: c.readExclude},
		{key: "keep", renamed: "exclude"},
		{key: "priority", read: func(v value) { set(&c.Priority)(v.number(1, lastPriority)) }},
		{key: "set_size", read: func(v value) { set(&c.SetSize)(v.number(1, maxSetSize)) }},
		{key: "lifetime", read: func(v value) { v.fields(lifetimeFields(&c.Lifetime)) }},
		{key: keyCheckInterval, read: c.readCheckInterval},
		{key: "owner", read: func(v value) {
			word, ok := v.word(string(gateway.OwnerAuto), string(gateway.OwnerOff))
			set(&c.Owner)(gateway.Owner(word), ok)
		}},
		{key: keyClients, read: c.readClients},
		{key: keyDefault, want: wantDefault, read: c.readDefault},
		{key: "routes", read: c.readRoutes},
		{key: "lists", read: c.readLists},
		{key: "redirect_dns", want: wantRedirect, read: c.readRedirect},
	}
}

// Bounds of numbers in gateway.yaml.
const (
	lastPriority = 32754     // of a route: eleven rules of ours follow, then that of table main, 32766
	maxTable     = 1<<31 - 1 // fits an int on every platform
	maxSetSize   = 1 << 24
	maxMaskBits  = 14 // a policy rule for each mark must fit below lastPriority
	minMTU       = 576
	minMTU6      = 1280
	maxMTU       = 65535
)

// set returns a function that assigns a value, unless it could not be read.
func set[T any](to *T) func(T, bool) {
	return func(v T, ok bool) {
		if ok {
			*to = v
		}
	}
}

func lifetimeFields(l *gateway.Lifetime) []field {
	return []field{
		{key: "floor", read: func(v value) { set(&l.Floor)(v.duration()) }},
		{key: "grace", read: func(v value) { set(&l.Grace)(v.duration()) }},
		{key: "ceiling", read: func(v value) { set(&l.Ceiling)(v.duration()) }},
	}
}

const keyCheckInterval = "check_interval"

// Bounds of check_interval: a look takes some 10 ms of CPU.
const (
	minCheckInterval = 10 * time.Second
	maxCheckInterval = 24 * time.Hour
)

// readCheckInterval reads off or a time.
func (c *builder) readCheckInterval(v value) {
	if v.node.Value == "off" {
		c.CheckInterval = 0
		return
	}
	set(&c.CheckInterval)(v.durationIn(minCheckInterval, maxCheckInterval))
}

func (c *builder) readMask(v value) {
	want := fmt.Sprintf("want one run of 2 to %d bits in 32, such as %#x", maxMaskBits, uint32(gateway.DefaultMask))
	n, ok := v.unsigned(want)
	if !ok {
		return
	}
	if m := gateway.Mask(n); n > 0xffffffff || !m.Valid() || m.Max() >= 1<<maxMaskBits {
		v.problem("not a usable mask", want)
		return
	}
	c.Mask = gateway.Mask(n)
}

func (c *builder) readExclude(v value) {
	for _, item := range v.items("want a list of prefixes and addresses") {
		p, ok := item.prefix()
		switch {
		case !ok:
		case p.Bits() == 0:
			item.problem("excludes every address: no route would ever be used", "want a smaller prefix")
		default:
			addOnce(&c.Exclude, item, p)
		}
	}
}

// ProblemAt makes a problem with a key of a configuration that was parsed, at the key's
// position, for what only shows when the value is used. A key that the file leaves out
// has the position of the nearest key above it.
func ProblemAt(cfg *gateway.Config, key, value, why, want string) problem.Problem {
	at := cfg.Positions.Find(key)
	return problem.Problem{File: cfg.File, Line: at.Line, Column: at.Column, Key: key, Value: value, Why: why, Want: want}
}
