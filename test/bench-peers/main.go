// Command bench-peers measures memory, build and lookup of nameroute's matcher beside a Go
// map of strings and Xray's matcher, in one run, for lists of all sizes, and writes a page of
// the results. Each case runs in a process of its own, on one core.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/lists"
)

func main() {
	log.SetFlags(0)
	page := flag.String("page", "", "`file` to write; none writes to standard output")
	real := flag.String("lists", "", "`folder` of real lists")
	sizes := flag.String("sizes", "100000,1000000,10000000", "synthetic `sizes`")
	one := flag.String("case", "", "measure one matcher; for the processes of its own")
	flag.Parse()
	if *one != "" {
		result, err := measure(*one, flag.Arg(0), flag.Arg(1))
		if err == nil {
			err = json.NewEncoder(os.Stdout).Encode(result)
		}
		if err != nil {
			log.Fatalf("%s: %v", *one, err)
		}
		return
	}
	if err := run(*page, *real, *sizes); err != nil {
		log.Fatal(err)
	}
}

func run(page, real, sizes string) error {
	dir, err := os.MkdirTemp("", "bench-peers")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	started := machine()
	var rows []row
	inputs, err := realInputs(real, dir)
	if err != nil {
		return err
	}
	for _, size := range strings.Split(sizes, ",") {
		n, err := strconv.Atoi(size)
		if err != nil {
			return fmt.Errorf("-sizes: %w", err)
		}
		inputs = append(inputs, input{title: synthetic, synthetic: n})
	}
	for _, in := range inputs {
		measured, err := in.rows(dir)
		if err != nil {
			return err
		}
		rows = append(rows, measured...)
	}
	var text bytes.Buffer
	write(&text, started, rows)
	if page == "" {
		_, err = os.Stdout.Write(text.Bytes())
		return err
	}
	return os.WriteFile(page, text.Bytes(), 0o644)
}

// synthetic is the title of generated lists.
const synthetic = "synthetic"

// input is a list that all matchers get.
type input struct {
	title     string
	file      string // as published
	plain     string // one rule per line, for the other matchers
	synthetic int    // number of generated names instead
}

// row is one line of the table.
type row struct {
	list, matcher string
	result
}

// realInputs returns the real lists that exist, each also in a form that the other matchers
// read.
func realInputs(from, dir string) (inputs []input, err error) {
	for _, file := range []string{"accelerated-domains.china.conf", "gfwlist.txt", "hosts.txt", "geosite.dat:cn"} {
		in := input{title: file, file: filepath.Join(from, file), plain: filepath.Join(dir, strings.ReplaceAll(file, ":", "-"))}
		name, _, _ := strings.Cut(in.file, ":")
		if _, err := os.Stat(name); from == "" || err != nil {
			log.Printf("%s: skipped, it does not exist", file)
			continue
		}
		out, err := os.Create(in.plain)
		if err != nil {
			return nil, err
		}
		_, err = lists.Convert(out, gateway.List{Name: "l", File: in.file}, "plain")
		if closeErr := out.Close(); err == nil {
			err = closeErr
		}
		if err != nil {
			return nil, err
		}
		inputs = append(inputs, in)
	}
	return inputs, nil
}

// synthesize writes n different names of two or three labels, of the lengths that
// real lists have.
func synthesize(file string, n int) error {
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(out)
	r := rand.New(rand.NewPCG(1, 2))
	tlds := []string{"com", "com", "com", "net", "org", "cn", "com.cn", "io", "co.uk", "info"}
	for i := range n {
		for range 4 + r.IntN(12) {
			w.WriteByte("abcdefghijklmnopqrstuvwxyz0123456789"[r.IntN(36)])
		}
		fmt.Fprintf(w, "%x.%s\n", i, tlds[r.IntN(len(tlds))])
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return out.Close()
}

// rows measures all matchers on a list.
func (in input) rows(dir string) ([]row, error) {
	if in.synthetic > 0 {
		in.file = filepath.Join(dir, "synthetic.txt")
		in.plain = in.file
		defer os.Remove(in.file)
		if err := synthesize(in.file, in.synthetic); err != nil {
			return nil, err
		}
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	var rows []row
	for _, m := range matchers {
		log.Printf("%s, %d names, %s", in.title, in.synthetic, m.name)
		file := in.plain
		if m.own {
			file = in.file
		}
		cmd := exec.Command(self, "-case", m.name, file, in.plain)
		cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if err != nil {
			return nil, fmt.Errorf("%s on %s: %w", m.name, in.title, err)
		}
		r := row{list: in.title, matcher: m.name}
		if err := json.Unmarshal(out, &r.result); err != nil {
			return nil, err
		}
		if in.synthetic > 0 && r.Wrong > 0 { // real lists have exceptions
			return nil, fmt.Errorf("%s on %s: %d wrong answers", m.name, in.title, r.Wrong)
		}
		rows = append(rows, r)
	}
	return rows, nil
}
