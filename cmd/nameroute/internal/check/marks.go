package check

import (
	"bufio"
	"bytes"
	"os/exec"
	"slices"
	"strconv"
	"strings"
)

const writesMarks = "writes bits of the mark that are nameroute's (%#x), which may block listed connections"

// checkMarks finds rules of other programs that write our bits of the mark or ct mark.
func (h *host) checkMarks(r *report) {
	mask := uint32(h.cfg.Mask)
	if h.rules != nil {
		for _, w := range h.rules.MarkWriters(mask) {
			r.warn("firewall: %s: "+writesMarks+": %s", w, mask, w.Remedy)
		}
	}
	for _, program := range []string{"iptables-legacy", "ip6tables-legacy"} {
		tables, _ := h.Read("/proc/thread-self/net/" + strings.TrimSuffix(program, "tables-legacy") + "_tables_names") // without the file it is not in use
		if !slices.Contains(strings.Fields(tables), "mangle") {
			continue
		}
		text, err := exec.Command(program+"-save", "-t", "mangle").Output()
		if err != nil {
			r.unknown("firewall: %s is in use and cannot be read: %v: make sure that its MARK and CONNMARK rules have masks without %#x", program, err, mask)
			continue
		}
		for _, rule := range savedMarkWriters(text, mask) {
			r.warn("firewall: %s -t mangle %s: "+writesMarks+": give the mark a mask without these bits, such as %#x", program, rule, mask, ^mask)
		}
	}
}

// savedMarkWriters returns the rules in the output of iptables-save that write the mask's bits.
func savedMarkWriters(text []byte, mask uint32) []string {
	var all []string
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		f := strings.Fields(lines.Text())
		if target := wordAfter(f, "-j"); len(f) == 0 || f[0] != "-A" || target != "MARK" && target != "CONNMARK" {
			continue
		}
		writes := slices.ContainsFunc(f, func(w string) bool { return w == "--save-mark" || w == "--restore-mark" })
		for _, flag := range []string{"--set-xmark", "--nfmask", "--ctmask"} { // iptables-save writes no other ones
			word := wordAfter(f, flag)
			if word == "" {
				continue
			}
			writes = false
			for _, number := range strings.Split(word, "/") {
				n, err := strconv.ParseUint(number, 0, 32)
				writes = writes || err != nil || uint32(n)&mask != 0
			}
			if writes {
				break
			}
		}
		if writes {
			all = append(all, lines.Text())
		}
	}
	return all
}
