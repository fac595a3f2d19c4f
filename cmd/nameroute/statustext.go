package main

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"time"
)

// printStatus prints the page for a person.
func printStatus(out io.Writer, d statusDoc) error {
	w := bufio.NewWriter(out)
	for _, p := range d.Processes {
		words := make([]string, len(p.Parts))
		for i, q := range p.Parts {
			words[i] = string(q)
		}
		fmt.Fprintf(w, "nameroute %s, %s, process %d, since %s\n", p.Version, strings.Join(words, " and "), p.PID, ago(d.At, p.Since))
		if p.LastGood != "" {
			remark(w, "the last good files are in use", p.LastGood)
		}
	}
	for _, p := range d.Problems {
		remark(w, "not known", p)
	}
	routesText(w, d)
	listsText(w, d)
	setsText(w, d)
	upstreamsText(w, d)
	blocksText(w, d)
	redirectText(w, d.Redirect)
	kernelText(w, d.Kernel)
	return w.Flush()
}

func routesText(w io.Writer, d statusDoc) {
	t := newTable("ROUTE", "STATE", ">FOR", "IP", ">HANDSHAKE", ">RECEIVED", ">SENT", ">STOPPED", "BY")
	for _, r := range d.Routes {
		state := "up"
		if !r.Up {
			state = "down"
		}
		handshake := "-"
		if r.Tunnel != nil {
			handshake = ago(d.At, r.Tunnel.Handshake)
		}
		stopped := "-"
		if r.Stopped != nil {
			stopped = fmt.Sprint(r.Stopped.Packets)
		}
		t.add(r.Name, state, ago(d.At, r.Since), families(r), handshake, size(r.RX), size(r.TX), stopped, orDash(strings.Join(r.Links, " ")))
		if r.Why != "" {
			t.remark(r.Name, r.Why)
		}
		if r.Note != "" {
			t.remark(r.Name, r.Note)
		}
	}
	t.print(w)
	for _, l := range d.WAN.Defaults {
		remark(w, "WAN", l)
	}
	var resolvers []string
	for _, r := range d.WAN.Resolvers {
		resolvers = append(resolvers, r.String())
	}
	remark(w, "resolvers of the WAN", orDash(strings.Join(resolvers, ", ")))
}

func families(r routeStatus) string {
	switch {
	case r.V4 && r.V6:
		return "4+6"
	case r.V4:
		return "4"
	case r.V6:
		return "6"
	}
	return "-"
}

func listsText(w io.Writer, d statusDoc) {
	t := newTable("LIST", ">ENTRIES", ">PREFIXES", ">SKIPPED", ">READ", "FORMAT", "STATE")
	for _, l := range d.Lists {
		state := "current"
		switch {
		case l.LastGood:
			state = "last good"
		case l.Error != "":
			state = "not in use"
		}
		t.add(l.Name, fmt.Sprint(l.Entries), fmt.Sprint(l.Prefixes), fmt.Sprint(l.Skipped), ago(d.At, l.Read), orDash(l.Format), state)
		if l.Error != "" {
			t.remark(l.Name, l.Error)
		}
	}
	t.print(w)
}

func setsText(w io.Writer, d statusDoc) {
	t := newTable("SET", "ROUTE", ">ELEMENTS", ">CAPACITY", ">LEARNED PER MINUTE")
	for _, s := range d.Sets {
		capacity := "-"
		if s.Capacity > 0 {
			capacity = fmt.Sprint(s.Capacity)
		}
		t.add(s.Set, s.Route, fmt.Sprint(s.Elements), capacity, fmt.Sprint(s.PerMinute))
	}
	t.print(w)
}

func upstreamsText(w io.Writer, d statusDoc) {
	t := newTable("UPSTREAM", "ROUTE", "HEALTH", ">LATENCY", ">QUESTIONS", ">ANSWERS")
	for _, u := range d.Upstreams {
		health := "healthy"
		if !u.Healthy {
			health = "unhealthy"
		}
		if u.Fallback {
			health += " (wan)"
		}
		latency := "-"
		if u.Latency > 0 {
			latency = fmt.Sprintf("%.1f ms", u.Latency*1000)
		}
		t.add(u.Address, u.Route, health, latency, fmt.Sprint(u.Asked), fmt.Sprint(u.Answered))
	}
	t.print(w)
}

func blocksText(w io.Writer, d statusDoc) {
	t := newTable("BLOCK", "LISTED", "ROUTE", ">QUERIES", ">CACHE HITS")
	for _, b := range d.Blocks {
		queries, hits := "-", "-"
		if b.Queries != nil {
			queries = fmt.Sprint(*b.Queries)
		}
		if b.Hits != nil {
			hits = fmt.Sprint(*b.Hits)
			if b.Queries != nil && *b.Queries > 0 {
				hits += fmt.Sprintf(" (%d%%)", min(100, *b.Hits*100 / *b.Queries))
			}
		}
		t.add(strings.Join(b.Zones, " "), orDash(b.View), orDash(strings.Join(b.Routes, " ")), queries, hits)
	}
	t.print(w)
}

func redirectText(w io.Writer, r *redirectStatus) {
	if r == nil {
		return
	}
	text := fmt.Sprintf("%d questions to other resolvers were answered here", r.Questions)
	if r.Refused > 0 {
		text += fmt.Sprintf(", %d packets of encrypted ones refused", r.Refused)
	}
	fmt.Fprintln(w)
	remark(w, "redirect_dns", text)
	if r.Problem != "" {
		remark(w, "redirect_dns", r.Problem)
	}
}

func kernelText(w io.Writer, k kernelStatus) {
	var words []string
	switch k.Table {
	case "owned":
		words = append(words, "the nft table is owned and outlives us")
	case "twins":
		words = append(words, "the nft table is a pair of twins, one of them owned")
	case "plain":
		words = append(words, "the nft table is an ordinary one, and watched")
	}
	if k.Table != "" {
		how := "added anew"
		if k.Update {
			how = "prolonged in place"
		}
		words = append(words, "elements are "+how)
	}
	for _, kind := range k.WireGuard {
		where := "of the kernel"
		if kind != "kernel" {
			where = "embedded"
		}
		words = append(words, "WireGuard is "+where)
	}
	fmt.Fprintln(w)
	remark(w, "kernel", orDash(strings.Join(words, "; ")))
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func ago(now, at time.Time) string {
	if at.IsZero() {
		return "-"
	}
	return roughly(now.Sub(at))
}

// size prints bytes in their largest unit, as `wg show` does.
func size(n *int64) string {
	if n == nil {
		return "-"
	}
	v, units := float64(*n), []string{"B", "KiB", "MiB", "GiB", "TiB"}
	i := 0
	for ; v >= 1000 && i < len(units)-1; i++ {
		v /= 1024
	}
	if i == 0 {
		return fmt.Sprintf("%d B", *n)
	}
	return fmt.Sprintf("%.1f %s", v, units[i])
}
