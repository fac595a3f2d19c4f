package demo

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"
)

// narrator prints the demo for a person, and keeps the result of each claim.
type narrator struct {
	out    io.Writer
	colour bool
	began  time.Time
	act    int
	checks []check
}

// check is one thing that the demo claims.
type check struct {
	claim string
	seen  string
	held  bool
}

func newNarrator(out *os.File) *narrator {
	return &narrator{out: out, colour: term.IsTerminal(int(out.Fd())) && os.Getenv("NO_COLOR") == "", began: time.Now()}
}

const (
	bold  = "1"
	dim   = "2"
	red   = "31"
	green = "32"
	cyan  = "36"
)

// paint colours a text on a terminal.
func (n *narrator) paint(code, text string) string {
	if !n.colour {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// title begins an act.
func (n *narrator) title(format string, args ...any) {
	n.act++
	fmt.Fprintf(n.out, "\n%s\n", n.paint(bold, fmt.Sprintf("%d. %s", n.act, fmt.Sprintf(format, args...))))
}

// say prints a paragraph.
func (n *narrator) say(format string, args ...any) {
	for line := range strings.Lines(fmt.Sprintf(format, args...)) {
		fmt.Fprintf(n.out, "   %s\n", strings.TrimRight(line, "\n"))
	}
}

// quote prints the content of a file or the output of a command.
func (n *narrator) quote(text string) {
	for line := range strings.Lines(strings.TrimRight(text, "\n")) {
		fmt.Fprintf(n.out, "     %s\n", n.paint(cyan, strings.TrimRight(line, "\n")))
	}
}

// claim prints whether a claim held, with what was measured.
func (n *narrator) claim(held bool, claim, format string, args ...any) {
	c := check{claim, fmt.Sprintf(format, args...), held}
	n.checks = append(n.checks, c)
	fmt.Fprintf(n.out, "   %s %s: %s\n", n.verdict(held), claim, c.seen)
}

func (n *narrator) verdict(held bool) string {
	if held {
		return n.paint(green, "ok  ")
	}
	return n.paint(red, "FAIL")
}

// summary prints all claims and reports whether every one held.
func (n *narrator) summary() bool {
	width := 0
	for _, c := range n.checks {
		width = max(width, len([]rune(c.claim)))
	}
	fmt.Fprintf(n.out, "\n%s\n\n", n.paint(bold, "Summary"))
	all := len(n.checks) > 0
	for _, c := range n.checks {
		all = all && c.held
		fmt.Fprintf(n.out, "   %s %-*s  %s\n", n.verdict(c.held), width, c.claim, n.paint(dim, c.seen))
	}
	verdict := n.paint(green, "All claims held")
	if !all {
		verdict = n.paint(red, "Not all claims held")
	}
	fmt.Fprintf(n.out, "\n   %s, in %.1f s.\n", verdict, time.Since(n.began).Seconds())
	return all
}
