package resolvers

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/pkg/statefile"
)

// AdvertisedFile is where the sidecar keeps the resolvers of router advertisements (RDNSS,
// RFC 8106), which the kernel reports once and does not store: for the other parts, for
// commands, and for the next process.
const AdvertisedFile = gateway.DefaultRun + "/advertised"

// forever is the lifetime of what does not expire, in seconds (RFC 8106 section 5.1).
const forever = 1<<32 - 1

// advertisement is a resolver that a router has advertised on a link.
type advertisement struct {
	index  int
	link   string
	router netip.Addr
	server netip.Addr    // a link-local one without a zone
	heard  time.Duration // since boot, suspended time included
	ends   time.Duration // 0: never
}

// sinceBoot returns a time that is never set, and that a suspend does not stop.
func sinceBoot() time.Duration {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &t) != nil {
		return 0
	}
	return time.Duration(t.Nano())
}

// ofAdvertisements reads what writeAdvertisements wrote and has not expired.
func (b *box) ofAdvertisements(file string, text []byte) []entry {
	var all []entry
	for n, a := range parseAdvertisements(text) {
		if b.links[a.index] == a.link && !a.expired(sinceBoot()) {
			all = b.add(all, file, n+1, a.server.String(), a.link)
		}
	}
	return all
}

func (a advertisement) expired(now time.Duration) bool { return a.ends != 0 && a.ends <= now }

// parseAdvertisements reads lines of `INDEX LINK ROUTER RESOLVER HEARD ENDS`, in
// seconds since boot.
func parseAdvertisements(text []byte) []advertisement {
	var all []advertisement
	eachLine(text, func(_ int, _ string, words []string) {
		if len(words) != 6 {
			return
		}
		index, err := strconv.Atoi(words[0])
		router, routerErr := netip.ParseAddr(words[2])
		server, serverErr := netip.ParseAddr(words[3])
		heard, heardErr := strconv.ParseUint(words[4], 10, 33)
		ends, endsErr := strconv.ParseUint(words[5], 10, 33)
		if errors.Join(err, routerErr, serverErr, heardErr, endsErr) != nil || len(all) == maxAdvertised {
			return
		}
		all = append(all, advertisement{
			index: index, link: words[1], router: router.WithZone(""), server: server.WithZone(""),
			heard: time.Duration(heard) * time.Second, ends: time.Duration(ends) * time.Second,
		})
	})
	return all
}

// Forget removes AdvertisedFile.
func Forget() error { return writeAdvertisements(AdvertisedFile, nil) }

func writeAdvertisements(file string, all []advertisement) error {
	if len(all) == 0 {
		if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	return statefile.Replace(file, 0o644, func(w io.Writer) error {
		for _, a := range all {
			ends := (a.ends + time.Second - 1) / time.Second
			if _, err := fmt.Fprintln(w, a.index, a.link, a.router, a.server, int64(a.heard/time.Second), int64(ends)); err != nil {
				return err
			}
		}
		return nil
	})
}

// Bounds of what routers can have us keep: any host on a link may send any number of
// advertisements.
const (
	maxAdvertised       = 128 // in all
	maxAdvertisedOnLink = 16
)

// advertised are the resolvers of router advertisements.
type advertised struct{ all []advertisement }

// hear takes the resolvers of one option. Their lifetime replaces the one that they had; 0
// ends them. Those of a router's last advertisement come before those that it named
// earlier, which last until their lifetime ends.
func (s *advertised) hear(index int, link string, router netip.Addr, servers []netip.Addr, lifetime uint32, now time.Duration) {
	s.expire(now)
	for _, server := range servers {
		at := slices.IndexFunc(s.all, func(a advertisement) bool { return a.index == index && a.link == link && a.server == server })
		a := advertisement{index: index, link: link, router: router, server: server, heard: now}
		if lifetime != forever {
			a.ends = now + time.Duration(lifetime)*time.Second
		}
		switch {
		case lifetime == 0 && at >= 0:
			s.all = slices.Delete(s.all, at, at+1)
		case lifetime == 0:
		case at >= 0:
			s.all[at] = a
		case len(s.all) < maxAdvertised && s.onLink(index) < maxAdvertisedOnLink:
			s.all = append(s.all, a)
		}
	}
	slices.SortStableFunc(s.all, func(a, b advertisement) int { return s.late(a) - s.late(b) })
}

// late is 1 for what its router's last advertisement has not named. The options of one
// come within a moment.
func (s *advertised) late(a advertisement) int {
	for _, o := range s.all {
		if o.index == a.index && o.router == a.router && o.heard-a.heard > time.Second {
			return 1
		}
	}
	return 0
}

func (s *advertised) onLink(index int) (n int) {
	for _, a := range s.all {
		if a.index == index {
			n++
		}
	}
	return n
}

// expire forgets what has expired.
func (s *advertised) expire(now time.Duration) {
	s.all = slices.DeleteFunc(s.all, func(a advertisement) bool { return a.expired(now) })
}

// leave forgets what was advertised on a link: it may be plugged into another network now.
func (s *advertised) leave(index int) {
	s.all = slices.DeleteFunc(s.all, func(a advertisement) bool { return a.index == index })
}
