package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
)

// resetPeak makes the kernel forget the peak (proc(5), clear_refs) and returns what
// is resident now.
func resetPeak() int64 {
	debug.FreeOSMemory()
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil {
		panic(err)
	}
	return status("VmRSS")
}

// status is a size of /proc/self/status in bytes.
func status(key string) int64 {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		panic(err)
	}
	for line := range strings.Lines(string(text)) {
		var kb int64
		if rest, ok := strings.CutPrefix(line, key+":"); ok {
			if _, err := fmt.Sscanf(rest, "%d kB", &kb); err != nil {
				panic(err)
			}
			return kb << 10
		}
	}
	panic("no " + key + " in /proc/self/status")
}

// machine says on what this was measured, and what else it did then.
func machine() string {
	model := runtime.GOARCH
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(text)) {
			if key, value, _ := strings.Cut(line, ":"); strings.TrimSpace(key) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	load := "unknown"
	if text, err := os.ReadFile("/proc/loadavg"); err == nil {
		load, _, _ = strings.Cut(string(text), " ")
	}
	text := fmt.Sprintf("%d cores of %s, %s, load %s when it began", runtime.NumCPU(), model, runtime.Version(), load)
	if busy, err := strconv.ParseFloat(load, 64); err == nil && busy > 1 {
		text += ": the machine had other work, so that times are longer than on an idle one, and differ between runs"
	}
	return text
}

const intro = `# How the lists grow

Written by ` + "`make bench-lists`" + `; do not edit it. Every line is a process of its own on one
core. Build is from the file as text to the first answer: nameroute reads the published
file, with everything that a start does but keeping copies; the peers read the same names
one a line, without keywords and expressions, which they are not asked for. Memory is
what the heap holds afterwards. Peak is how far the resident memory rose meanwhile.
Build and lookup are processor time. Hits are asked below the listed name where the
rule allows it, in random order over %d names at most. Restart is the time until an
unchanged list answers again, from its compiled form.

The peers are the label walk over a Go map of strings, and the minimal perfect hash
matcher of Xray (` + "`common/strmatcher`" + `), which keeps two strings a rule.

Measured on %s.

| list | names | matcher | bytes a name | MB | peak MB | build s | M lines/s | hit ns | miss ns | restart ms |
| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
`

func write(w io.Writer, machine string, rows []row) {
	fmt.Fprintf(w, intro, 1<<16, machine)
	for _, r := range rows {
		restart := "–"
		if r.Restart > 0 {
			restart = fmt.Sprintf("%.1f", float64(r.Restart.Microseconds())/1e3)
		}
		fmt.Fprintf(w, "| %s | %d | %s | %.1f | %.2f | %.1f | %.3f | %.2f | %d | %d | %s |\n",
			r.list, r.Lines, r.matcher, float64(r.Bytes)/float64(r.Lines), float64(r.Bytes)/1e6, float64(r.Peak)/1e6,
			r.Build.Seconds(), float64(r.Lines)/1e6/r.Build.Seconds(), r.Hit.Nanoseconds(), r.Miss.Nanoseconds(), restart)
	}
	fmt.Fprint(w, "\n## The targets\n\n")
	targets(w, rows)
}

// targets says which of the project's targets were reached.
func targets(w io.Writer, rows []row) {
	own := func(list string, lines int) (result, bool) {
		for _, r := range rows {
			if r.matcher == "nameroute" && r.list == list && (lines == 0 || r.Lines == lines) {
				return r.result, true
			}
		}
		return result{}, false
	}
	say := func(what string, reached bool, format string, values ...any) {
		verdict := map[bool]string{true: "reached", false: "**missed**"}[reached]
		fmt.Fprintf(w, "* %s: %s, %s.\n", what, fmt.Sprintf(format, values...), verdict)
	}
	if china, ok := own("accelerated-domains.china.conf", 0); ok {
		say("dnsmasq-china-list in at most 2.5 MB", china.Bytes <= 2_500_000, "%.2f MB", float64(china.Bytes)/1e6)
	}
	million, ok := own(synthetic, 1_000_000)
	if !ok {
		return
	}
	slow := max(million.Hit, million.Miss)
	bytes := float64(million.Bytes) / float64(million.Lines)
	speed := float64(million.Lines) / million.Build.Seconds()
	peak := float64(million.Peak) / float64(million.Bytes)
	say("At most 12 bytes a rule at 1 million", bytes <= 12, "%.1f", bytes)
	say("A lookup in at most 250 ns at 1 million, hit and miss", slow.Nanoseconds() <= 250, "%d ns", slow.Nanoseconds())
	if ten, ok := own(synthetic, 10_000_000); ok {
		times := float64(max(ten.Hit, ten.Miss)) / float64(slow)
		say("At most 3 times that at 10 million", times <= 3, "%.1f times", times)
	}
	say("At least 2 million lines a second from text on one core", speed >= 2e6, "%.2f million", speed/1e6)
	say("A peak of at most 3 times the result while it is built", peak <= 3, "%.1f times", peak)
	say("Ready in at most 100 ms after a restart with 1 million names", million.Restart.Milliseconds() <= 100, "%.1f ms", float64(million.Restart.Microseconds())/1e3)
}
