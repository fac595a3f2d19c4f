// Package output formats what the commands print.
package output

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// JSON prints a document for a program.
func JSON(w io.Writer, document any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(document)
}

// Count returns a number with its noun in the right form: "1 entry", "3 entries".
func Count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	if stem, ok := strings.CutSuffix(noun, "entry"); ok {
		noun = stem + "entrie"
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
