package dnshalf

import (
	"fmt"

	"github.com/coredns/caddy"
)

// Position is where a directive stands in the Corefile.
type Position struct {
	file string
	line int
}

// Here is the directive that the controller reads just now. It is asked for before
// the directive's block is read: afterwards the controller stands at its end.
func Here(c *caddy.Controller) Position { return Position{c.File(), c.Line()} }

// Wrap gives an error the position, in the form that CoreDNS's own errors have.
func (p Position) Wrap(err error) error {
	return fmt.Errorf("%s:%d - Error during parsing: %w", p.file, p.line, err)
}
