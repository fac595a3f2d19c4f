package learned

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/nameroute/nameroute/gateway/pkg/wallclock"
)

// saved is a learned address as it is stored: of which route, how long it is still to
// live, and the names that it was learned for, where all of them are known.
type saved struct {
	route string
	addr  netip.Addr
	left  time.Duration
	names []string
}

const (
	fileMagic   = "nameroute learned 1"
	maxFile     = 1 << 20 // lines; a set has 65,536 elements by default
	maxFileLine = 1 << 15 // bytes; maxNames names of at most 1,004 bytes fit in
)

// ErrForeign is returned for a file that is not ours, or incomplete.
var ErrForeign = errors.New("not a whole file of learned addresses")

// writeFile stores addresses with the time at which they end. The first line holds
// the time of writing, the last one what the others must add up to:
//
//	nameroute learned 1	UNIXSECONDS
//	ROUTE	ADDRESS	UNIXSECONDS	NAME	NAME
//	end	LINES	CRC32
func writeFile(w io.Writer, now time.Time, all []saved) error {
	sum := crc32.NewIEEE()
	out := bufio.NewWriter(io.MultiWriter(w, sum))
	fmt.Fprintf(out, "%s\t%d\n", fileMagic, now.Unix())
	var line []byte
	for _, r := range all {
		line = append(line[:0], r.route...)
		line = append(line, '\t')
		line = r.addr.AppendTo(line)
		line = append(line, '\t')
		line = strconv.AppendInt(line, now.Add(r.left).Unix(), 10)
		for _, n := range r.names {
			line = append(line, '\t')
			line = append(line, n...)
		}
		line = append(line, '\n')
		if _, err := out.Write(line); err != nil {
			return err
		}
	}
	if err := out.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "end\t%d\t%08x\n", len(all), sum.Sum32())
	return err
}

// readFile reads what writeFile wrote. now is the clock's time: what has ended
// is left out. A clock that is behind the time of writing has not been set yet, and one
// that had not been set when the file was written says nothing about how long ago that
// was; then no time has passed. Nothing lives for longer than most. Errors about the
// content wrap ErrForeign.
func readFile(r io.Reader, now time.Time, most time.Duration) ([]saved, error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxFileLine)
	sum := crc32.NewIEEE()
	written, err := readHeader(lines, sum)
	if err != nil {
		return nil, err
	}
	if now.Before(written) || written.Before(wallclock.Earliest) {
		now = written
	}
	var all []saved
	for n := 0; lines.Scan(); n++ {
		f := strings.Split(lines.Text(), "\t")
		if isEnd(f) {
			if f[1] != strconv.Itoa(n) || f[2] != fmt.Sprintf("%08x", sum.Sum32()) {
				return nil, fmt.Errorf("%w: its lines do not add up", ErrForeign)
			}
			if lines.Scan() {
				return nil, fmt.Errorf("%w: it goes on after its end", ErrForeign)
			}
			return all, nil
		}
		if n == maxFile {
			return nil, fmt.Errorf("%w: more than %d lines", ErrForeign, maxFile)
		}
		m, end, err := parseSaved(f)
		if err != nil {
			return nil, fmt.Errorf("%w: line %d: %w", ErrForeign, n+2, err)
		}
		digest(sum, lines.Bytes())
		if m.left = min(end.Sub(now), most); m.left > 0 {
			all = append(all, m)
		}
	}
	if err := lines.Err(); err != nil && !errors.Is(err, bufio.ErrTooLong) {
		return nil, err
	}
	return nil, fmt.Errorf("%w: it has no end", ErrForeign)
}

func readHeader(lines *bufio.Scanner, sum hash.Hash32) (written time.Time, err error) {
	if !lines.Scan() {
		return written, errors.Join(ErrForeign, lines.Err())
	}
	magic, sec, _ := strings.Cut(lines.Text(), "\t")
	unix, err := strconv.ParseInt(sec, 10, 64)
	if magic != fileMagic || err != nil {
		return written, fmt.Errorf("%w: it begins %.40q", ErrForeign, bytes.ToValidUTF8(lines.Bytes(), nil))
	}
	digest(sum, lines.Bytes())
	return time.Unix(unix, 0), nil
}

// isEnd tells the last line from one of a route that is called end.
func isEnd(f []string) bool {
	if f[0] != "end" || len(f) != 3 {
		return false
	}
	_, err := strconv.Atoi(f[1])
	return err == nil
}

func digest(sum hash.Hash32, line []byte) {
	// A hash takes everything.
	_, _ = sum.Write(line)
	_, _ = sum.Write([]byte{'\n'})
}

func parseSaved(f []string) (m saved, end time.Time, err error) {
	if len(f) < 3 || f[0] == "" {
		return m, end, errors.New("want route, address and seconds")
	}
	m.route = f[0]
	if m.addr, err = netip.ParseAddr(f[1]); err != nil {
		return m, end, err
	}
	if m.addr.Zone() != "" || m.addr.Is4In6() {
		return m, end, fmt.Errorf("address %s", f[1])
	}
	sec, err := strconv.ParseInt(f[2], 10, 64)
	if err != nil {
		return m, end, err
	}
	for _, n := range f[3:] {
		if n == "" {
			return m, end, errors.New("empty name")
		}
		if len(m.names) < maxNames {
			m.names = append(m.names, strings.Clone(n))
		}
	}
	return m, time.Unix(sec, 0), nil
}
