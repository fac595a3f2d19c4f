package corefile

import (
	"bytes"
	"slices"
	"strconv"
	"strings"

	"github.com/coredns/caddy/caddyfile"

	"github.com/nameroute/nameroute/gateway"
)

// directiveClients names the class of clients that a block is for.
const directiveClients = "clients"

// Each class of clients has listeners of its own, to which its queries are redirected. In
// the Corefile blocks have the ports that clients use. withClients puts each on the ports
// where its queries arrive: a block with *clients* on those of its class, by all transports
// that any block of its zone has, and the blocks for everybody on their own and on those of
// all classes. Lines stay where they are, and a second time nothing changes.
func (t *Text) withClients() (*Text, error) {
	if !bytes.Contains(t.Body, []byte(directiveClients)) {
		return t, nil
	}
	f, err := t.Parse()
	if err != nil {
		return t, nil // it is reported where it matters
	}
	var classes []string
	for _, b := range f.Blocks {
		if b.Clients != nil && !slices.Contains(classes, b.Clients.Class) {
			classes = append(classes, b.Clients.Class)
		}
	}
	if len(classes) == 0 {
		return t, nil
	}
	if f.span == nil {
		i := slices.IndexFunc(f.Blocks, func(b Block) bool { return b.Clients != nil })
		return nil, f.Blocks[i].Clients.Errorf("clients: want each server block to begin on a line of its own, and this one not in a snippet")
	}
	edit := keyEditor{lines: bytes.SplitAfter(t.Body, []byte("\n")), tokens: lex(t.name, t.Body)}
	for i := range f.Blocks {
		keys, err := f.keysFor(i, classes)
		if err != nil {
			return nil, err
		}
		if !edit.replace(f.span[i].first, keys, f.Blocks[i].Clients != nil) {
			return nil, f.Blocks[i].Errorf("%s: want the zones of the block without quotes", strings.Join(f.Blocks[i].Keys, " "))
		}
	}
	out := *t
	out.Body, out.written = bytes.Join(edit.lines, nil), t.Body
	return &out, nil
}

// keysFor returns the keys that a block needs: of a class all, of others those in addition
// to its own.
func (f *File) keysFor(block int, classes []string) (keys []string, err error) {
	b := &f.Blocks[block]
	add := func(z Zone, class string) {
		port := gateway.ClassPort(class, portOf(z))
		key := z.Transport + "://" + z.Name + ":" + strconv.Itoa(int(port))
		if port != 0 && !slices.Contains(keys, key) && !b.serves(z, port) {
			keys = append(keys, key)
		}
	}
	if b.Clients == nil {
		for _, z := range b.Zones {
			for _, class := range classes {
				if !f.answersAll(class, z.Name, block) {
					add(z, class)
				}
			}
		}
		return keys, nil
	}
	for _, z := range b.Zones {
		if !isClassPort(z, b.Clients.Class) && gateway.ClassPort(b.Clients.Class, portOf(z)) == 0 {
			return nil, b.Errorf("clients %s: port %s: clients are known on ports 53, 853 and 443 only", b.Clients.Class, z.Port)
		}
		for _, other := range f.Blocks {
			for _, o := range other.Zones {
				if o.Name == z.Name {
					add(o, b.Clients.Class)
				}
			}
		}
	}
	return keys, nil
}

// serves reports whether the block has a zone by the same transport on a port already.
func (b *Block) serves(z Zone, port uint16) bool {
	return slices.Contains(b.Zones, Zone{z.Name, z.Transport, strconv.Itoa(int(port))})
}

// answersAll reports whether a block before this one answers every query of a class for a
// zone, so that this one would not be heard.
func (f *File) answersAll(class, zone string, block int) bool {
	return slices.ContainsFunc(f.Blocks[:block], func(b Block) bool {
		return b.Clients != nil && b.Clients.Class == class && !b.Filtered() &&
			slices.ContainsFunc(b.Zones, func(z Zone) bool { return z.Name == zone })
	})
}

func portOf(z Zone) uint16 {
	n, err := strconv.ParseUint(z.Port, 10, 16)
	if err != nil {
		return 0
	}
	return uint16(n)
}

// isClassPort reports whether a zone is on one of a class's own ports.
func isClassPort(z Zone, class string) bool {
	return slices.ContainsFunc(gateway.ClassPorts[:], func(p uint16) bool { return gateway.ClassPort(class, p) == portOf(z) })
}

// keyEditor changes the keys of blocks in the lines of a text.
type keyEditor struct {
	lines  [][]byte
	tokens []caddyfile.Token
}

// replace adds keys to those of the block that begins on a line, or puts them in their
// place. It returns false where the keys are not found as they are written.
func (e *keyEditor) replace(line int, keys []string, instead bool) bool {
	if len(keys) == 0 {
		return true
	}
	i := slices.IndexFunc(e.tokens, func(t caddyfile.Token) bool { return t.Line == line })
	end := endOfKeys(e.tokens, i)
	at := 0 // where the rest of the line begins
	for n, t := range e.tokens[i:end] {
		if n > 0 && t.Line != e.tokens[i+n-1].Line {
			at = 0
		}
		text, last := e.lines[t.Line-1], n == end-i-1
		from := bytes.Index(text[at:], []byte(t.Text))
		if from < 0 || from+at > 0 && text[from+at-1] == '"' {
			return false
		}
		from += at
		word := t.Text
		switch {
		case instead && last:
			word = strings.Join(keys, " ")
		case instead:
			word = ""
		case last:
			word += " " + strings.Join(keys, " ")
		}
		e.lines[t.Line-1] = slices.Concat(text[:from], []byte(word), text[from+len(t.Text):])
		at = from + len(word)
	}
	return true
}

// Clients is a clients directive.
type Clients struct {
	Position
	Class  string
	Config string // its own gateway.yaml; "" without
}

// Class returns the class of clients that the block is for, "" for all.
func (b *Block) Class() string {
	if b.Clients == nil {
		return ""
	}
	return b.Clients.Class
}
