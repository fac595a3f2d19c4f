package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// pageWidth is the columns of a terminal that nobody has made wider.
const pageWidth = 80

// remark prints `what: text` within the page, further lines indented.
func remark(w io.Writer, what, text string) {
	line := what + ":"
	for _, word := range strings.Fields(text) {
		if len([]rune(line))+1+len([]rune(word)) > pageWidth {
			fmt.Fprintln(w, line)
			line = "   "
		}
		line += " " + word
	}
	fmt.Fprintln(w, strings.TrimRight(line, " "))
}

// table is a part of the page, with headings; a heading that begins with > has its
// column set to the right.
type table struct {
	rows    [][]string
	right   []bool
	remarks [][2]string
}

func newTable(headings ...string) *table {
	t := &table{right: make([]bool, len(headings))}
	row := make([]string, len(headings))
	for i, h := range headings {
		row[i], t.right[i] = strings.CutPrefix(h, ">")
	}
	t.add(row...)
	return t
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

func (t *table) remark(what, text string) { t.remarks = append(t.remarks, [2]string{what, text}) }

// print writes the table, unless it is empty, and what is remarked about its rows.
func (t *table) print(w io.Writer) {
	if len(t.rows) < 2 {
		return
	}
	fmt.Fprintln(w)
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
		remark(w, "  "+r[0], r[1])
	}
}

// widths are those of the columns. Where the page is too narrow, the widest columns
// of text give way.
func (t *table) widths() []int {
	widths := make([]int, len(t.right))
	total := 2 * (len(widths) - 1)
	for i := range widths {
		for _, row := range t.rows {
			widths[i] = max(widths[i], len([]rune(row[i])))
		}
		total += widths[i]
	}
	for ; total > pageWidth; total-- {
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
