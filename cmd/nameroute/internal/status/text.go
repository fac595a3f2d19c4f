package status

import (
	"bufio"
	"fmt"
	"io"
	"net/netip"
	"strings"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/output"
	"github.com/nameroute/nameroute/gateway"
)

// Print prints the page for a person.
func Print(out io.Writer, d Doc) error {
	w := bufio.NewWriter(out)
	for _, p := range d.Processes {
		words := make([]string, len(p.Parts))
		for i, q := range p.Parts {
			words[i] = string(q)
		}
		fmt.Fprintf(w, "nameroute %s, %s, process %d, since %s\n", p.Version, strings.Join(words, " and "), p.PID, output.Since(d.At, p.Since))
		if p.LastGood != "" {
			output.Remark(w, "running the last good configuration", p.LastGood)
		}
		if r := p.Refused; r != nil {
			output.Remark(w, "the files have been changed and are not in use, since "+output.Since(d.At, r.Since), strings.ReplaceAll(r.Error, "\n", "; "))
		}
	}
	switch {
	case len(d.Because) > 0:
		output.Remark(w, "state", string(d.State)+": "+strings.Join(d.Because, "; "))
	case d.State != "":
		output.Remark(w, "state", string(d.State))
	}
	for _, p := range d.Problems {
		output.Remark(w, "cannot be read", p)
	}
	routesText(w, d)
	classesText(w, d)
	localText(w, d.Local)
	listsText(w, d)
	setsText(w, d)
	upstreamsText(w, d)
	blocksText(w, d)
	redirectText(w, d.Redirect)
	kernelText(w, d.Kernel)
	checksText(w, d)
	return w.Flush()
}

// printSection prints a table below an empty line, or nothing without rows.
func printSection(w io.Writer, t *output.Table) {
	if !t.Empty() {
		fmt.Fprintln(w)
		t.Print(w)
	}
}

func routesText(w io.Writer, d Doc) {
	t := output.NewTable("ROUTE", "STATE", ">FOR", "IP", ">HANDSHAKE", ">RECEIVED", ">SENT", ">BLOCKED", "VIA")
	for _, r := range d.Routes {
		handshake := "-"
		if r.Tunnel != nil {
			handshake = output.Since(d.At, r.Tunnel.Handshake)
		}
		blocked := "-"
		if r.Blocked != nil {
			blocked = fmt.Sprint(r.Blocked.Packets)
		}
		t.Add(r.Name, output.OrDash(r.State), output.Since(d.At, r.Since), families(r), handshake, bytesOf(r.RX), bytesOf(r.TX), blocked, output.OrDash(strings.Join(r.Links, " ")))
		if r.Reason != "" {
			t.Remark(r.Name, r.Reason)
		}
		if len(r.Default) > 0 {
			t.Remark(r.Name, "default of "+strings.Join(r.Default, " and "))
		}
		if r.Note != "" {
			t.Remark(r.Name, r.Note)
		}
		for _, m := range r.Members {
			t.Remark(r.Name, m.text())
		}
		for _, p := range r.silentPeers() {
			t.Remark(r.Name, fmt.Sprintf("peer %.8s is silent: %s", p.Key, allowedText(p.AllowedIPs)))
		}
		if r.Overwritten != nil {
			t.Remark(r.Name, fmt.Sprintf("%s blocked whose mark another program had overwritten: nameroute check", output.Count(int(r.Overwritten.Packets), "packet")))
		}
		if r.Inbound != nil && r.Inbound.Packets > 0 {
			t.Remark(r.Name, fmt.Sprintf("%s of new connections from the tunnel refused", output.Count(int(r.Inbound.Packets), "packet")))
		}
	}
	printSection(w, t)
	for _, l := range d.WAN.Defaults {
		output.Remark(w, "WAN", l)
	}
	if d.WAN.Note != "" {
		output.Remark(w, "WAN", d.WAN.Note)
	}
	for _, rule := range d.MarkWriters {
		output.Remark(w, "overwrites marks", rule)
	}
	for _, r := range d.Routes {
		if r.Name != gateway.WAN && len(r.Resolvers) > 0 {
			output.Remark(w, "resolvers of "+r.Name, resolversText(r.Resolvers, r.From))
		}
	}
	output.Remark(w, "WAN resolvers", resolversText(d.WAN.Resolvers, d.WAN.From))
}

// resolversText lists resolvers, and says where they are from.
func resolversText(all []netip.AddrPort, from string) string {
	var words []string
	for _, r := range all {
		words = append(words, r.String())
	}
	text := output.OrDash(strings.Join(words, ", "))
	if from != "" {
		text += " (" + from + ")"
	}
	return text
}

func (m Member) text() string {
	text := "resting"
	if m.InForce {
		text = "in force"
	}
	if !m.Last.IsZero() {
		text += ", probes " + m.State
	}
	if m.RoundTrip > 0 {
		text += fmt.Sprintf(", %.1f ms", m.RoundTrip*1000)
	}
	if m.Reason != "" {
		text += ": " + m.Reason
	}
	return "member " + m.Name + ": " + text
}

// silentPeers returns the peers of a mesh that do not answer, where others do.
func (r Route) silentPeers() (silent []Peer) {
	if r.Tunnel == nil || r.State == stateDown {
		return nil
	}
	for _, p := range r.Tunnel.Peers {
		if p.State == stateDown {
			silent = append(silent, p)
		}
	}
	return silent
}

func allowedText(prefixes []netip.Prefix) string {
	const most = 3
	var words []string
	for _, p := range prefixes[:min(most, len(prefixes))] {
		words = append(words, p.String())
	}
	text := output.OrDash(strings.Join(words, ", "))
	if more := len(prefixes) - most; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

func families(r Route) string {
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

func listsText(w io.Writer, d Doc) {
	t := output.NewTable("LIST", ">ENTRIES", ">PREFIXES", ">SKIPPED", ">READ", "FORMAT", "STATE")
	for _, l := range d.Lists {
		state := "current"
		switch {
		case l.LastGood:
			state = "last good"
		case l.Error != "":
			state = "not in use"
		}
		t.Add(l.Name, fmt.Sprint(l.Entries), fmt.Sprint(l.Prefixes), fmt.Sprint(l.Skipped), output.Since(d.At, l.Read), output.OrDash(l.Format), state)
		if l.Error != "" {
			t.Remark(l.Name, strings.TrimPrefix(l.Error, "list "+l.Name+": "))
		}
	}
	printSection(w, t)
}

func setsText(w io.Writer, d Doc) {
	t := output.NewTable("SET", "ROUTE", ">ELEMENTS", ">CAPACITY", ">LEARNED PER MINUTE")
	for _, s := range d.Sets {
		capacity := "-"
		if s.Capacity > 0 {
			capacity = fmt.Sprint(s.Capacity)
		}
		t.Add(s.Set, s.Route, fmt.Sprint(s.Elements), capacity, fmt.Sprint(s.PerMinute))
	}
	printSection(w, t)
}

func upstreamsText(w io.Writer, d Doc) {
	t := output.NewTable("UPSTREAM", "ROUTE", "HEALTH", ">LATENCY", ">QUERIES", ">ANSWERS")
	for _, u := range d.Upstreams {
		health := output.OrDash(u.State)
		if u.Fallback {
			health += " (wan)"
		}
		latency := "-"
		if u.Latency > 0 {
			latency = fmt.Sprintf("%.1f ms", u.Latency*1000)
		}
		t.Add(u.Address, u.Route, health, latency, fmt.Sprint(u.Queries), fmt.Sprint(u.Answers))
	}
	printSection(w, t)
}

func redirectText(w io.Writer, r *Redirect) {
	if r == nil {
		return
	}
	text := fmt.Sprintf("%d queries to other resolvers answered here", r.Queries)
	if r.Rejected > 0 {
		text += fmt.Sprintf(", %d packets to encrypted ones rejected", r.Rejected)
	}
	fmt.Fprintln(w)
	output.Remark(w, "redirect_dns", text)
	if r.Problem != "" {
		output.Remark(w, "redirect_dns", r.Problem)
	}
}

// checksText prints what the process found when it looked at the box last.
func checksText(w io.Writer, d Doc) {
	if d.Checks == nil {
		return
	}
	what := "checks, " + output.Since(d.At, d.Checks.At) + " ago"
	if len(d.Checks.Findings) == 0 {
		output.Remark(w, what, "nothing is wrong; `nameroute check --active` sends probes")
		return
	}
	fmt.Fprintln(w)
	for _, f := range d.Checks.Findings {
		output.Remark(w, what, string(f.Level)+": "+f.Text)
	}
}

func kernelText(w io.Writer, k Kernel) {
	var words []string
	switch k.Table {
	case "owned":
		words = append(words, "nft table owned and persistent")
	case "replica":
		words = append(words, "nft table with an owned replica")
	case "plain":
		words = append(words, "nft table ordinary, watched for changes")
	}
	if k.Table != "" {
		how := "replaced"
		if k.Update {
			how = "updated in place"
		}
		words = append(words, "elements "+how)
		if !k.Labels {
			words = append(words, "no conntrack labels: another program's marks can free a flow")
		}
	}
	for _, kind := range k.WireGuard {
		if kind == "kernel" {
			words = append(words, "WireGuard in the kernel")
		} else {
			words = append(words, "WireGuard embedded")
		}
	}
	fmt.Fprintln(w)
	output.Remark(w, "kernel", output.OrDash(strings.Join(words, "; ")))
	switch {
	case k.Unheld != "":
		output.Remark(w, "holder", "not sure that the nft table is kept while nameroute is stopped: "+k.Unheld)
	case k.Holder < 0:
		output.Remark(w, "holder", "another container's process keeps the nft table while nameroute is stopped")
	case k.Holder > 0:
		output.Remark(w, "holder", fmt.Sprintf("process %d keeps the nft table while nameroute is stopped", k.Holder))
	}
}

// bytesOf prints a size, or - where it is not known.
func bytesOf(n *int64) string {
	if n == nil {
		return "-"
	}
	return output.Bytes(*n)
}
