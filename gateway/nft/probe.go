package nft

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"os"
	"time"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/nft/rule"
	"golang.org/x/sys/unix"
)

// probe finds out what the kernel can do by doing it in a table of another name.
// Distributions carry features to older versions, so the version says little.
func probe(s *socket, table string) (Features, error) {
	var f Features
	name := fmt.Sprintf("%s_probe_%d_%d", table, os.Getpid(), s.Port())
	for _, flags := range []uint32{flagOwner | flagPersist, flagOwner, 0} {
		b := newBatch(nil)
		b.newTable(name, flags)
		err := s.transact(b)
		if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EINVAL) {
			continue
		}
		if err != nil {
			return f, fmt.Errorf("try nftables: %w", err)
		}
		f.Owner, f.Persist = flags&flagOwner != 0, flags&flagPersist != 0
		break
	}
	update, err := probeUpdate(s, name)
	f.Labels = probeRule(s, name, "postrouting", rule.SetCtLabel(0))
	f.Sockets = probeRule(s, name, "output", rule.SocketMarkIsExactly(0))
	f.Cgroups = probeRule(s, name, "output", rule.SocketCgroup(gateway.Cgroup{Level: 1, ID: 1}))
	f.FIB = probeRule(s, name, "postrouting", rule.SourceNotLocal(), rule.ByBridge())
	b := newBatch(nil)
	b.delTable(name)
	if err := errors.Join(err, s.transact(b)); err != nil {
		return f, fmt.Errorf("try nftables: %w", err)
	}
	f.Update = update
	return f, nil
}

// probeRule tries whether the kernel takes a rule in a chain of the hook.
func probeRule(s *socket, table, hook string, parts ...rule.Part) bool {
	b := newBatch(nil)
	b.newChain(table, Chain{Name: hook, Type: "filter", Hook: hook})
	if err := b.newRule(table, placedRule{chain: hook, rule: rule.New("", parts...)}); err != nil {
		return false
	}
	return s.transact(b) == nil
}

// probeUpdate adds an element twice and looks which time won. Kernels before 6.12
// take the second addition and do nothing.
func probeUpdate(s *socket, table string) (bool, error) {
	ref := SetRef{Family: "inet", Table: table, Name: "set"}
	add := func(b *batch, d time.Duration) error {
		b.elements(unix.NFT_MSG_NEWSETELEM, ref, []element{{key: netip.AddrFrom4([4]byte{1}), timeout: d, expires: d}})
		return s.transact(b)
	}
	b := newBatch(nil)
	b.newSet(table, Set{Name: ref.Name, Family: gateway.V4, Timeout: true})
	if err := errors.Join(add(b, 10*time.Second), add(newBatch(nil), time.Minute)); err != nil {
		return false, err
	}
	r, err := openReader()
	if err != nil {
		return false, err
	}
	defer r.close()
	elems, err := r.elements(ref, math.MaxInt)
	if err != nil {
		return false, err
	}
	return len(elems) == 1 && elems[0].expires > 20*time.Second, nil
}
