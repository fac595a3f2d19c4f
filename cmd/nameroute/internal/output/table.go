package output

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// Width is the number of columns of a page, that of a terminal by default.
const Width = 80

// Remark prints `what: text` within the page, further lines indented.
func Remark(w io.Writer, what, text string) {
	line := what + ":"
	for _, word := range strings.Fields(text) {
		if len([]rune(line))+1+len([]rune(word)) > Width {
			fmt.Fprintln(w, line)
			line = "   "
		}
		line += " " + word
	}
	fmt.Fprintln(w, strings.TrimRight(line, " "))
}

// Table is a part of a page: rows below headings. A heading that begins with > has its
// column aligned to the right.
type Table struct {
	Wide    bool // no column is shortened to fit the page
	rows    [][]string
	right   []bool
	remarks [][2]string
}

// NewTable returns a table with these headings and no rows.
func NewTable(headings ...string) *Table {
	t := &Table{right: make([]bool, len(headings))}
	row := make([]string, len(headings))
	for i, h := range headings {
		row[i], t.right[i] = strings.CutPrefix(h, ">")
	}
	t.Add(row...)
	return t
}

// Add appends a row.
func (t *Table) Add(cells ...string) { t.rows = append(t.rows, cells) }

// Remark appends a line below the table.
func (t *Table) Remark(what, text string) { t.remarks = append(t.remarks, [2]string{what, text}) }

// Empty reports whether there is no row below the headings.
func (t *Table) Empty() bool { return len(t.rows) < 2 }

// Print writes the table with its remarks.
func (t *Table) Print(w io.Writer) {
	widths := t.widths()
	for _, row := range t.rows {
		var b strings.Builder
		for i, cell := range row {
			cell = clip(cell, widths[i])
			pad := strings.Repeat(" ", widths[i]-len([]rune(cell)))
			if t.right[i] {
				b.WriteString(pad + cell)
			} else {
				b.WriteString(cell + pad)
			}
			b.WriteString("  ")
		}
		fmt.Fprintln(w, strings.TrimRight(b.String(), " "))
	}
	for _, r := range t.remarks {
		Remark(w, "  "+r[0], r[1])
	}
}

// widths are those of the columns. Where the page is too narrow, the widest columns
// of text give way.
func (t *Table) widths() []int {
	widths := make([]int, len(t.right))
	total := 2 * (len(widths) - 1)
	for i := range widths {
		for _, row := range t.rows {
			widths[i] = max(widths[i], len([]rune(row[i])))
		}
		total += widths[i]
	}
	for ; total > Width && !t.Wide; total-- {
		widest := -1
		for i, w := range widths {
			if !t.right[i] && (widest < 0 || w > widths[widest]) {
				widest = i
			}
		}
		if widths[widest] <= len("…")+1 {
			break
		}
		widths[widest]--
	}
	return widths
}

// clip shortens a cell, in its middle: names and addresses differ at both ends.
func clip(s string, width int) string {
	r := []rune(s)
	if len(r) <= width {
		return s
	}
	head := (width - 1) / 2
	return string(slices.Concat(r[:head], []rune("…"), r[len(r)-(width-1-head):]))
}
