package learned

import (
	"context"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nameroute/nameroute/test/netlab/measure"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/nft"
	"github.com/nameroute/nameroute/test/netlab/nftset"
)

// TestLearnHit: a hit sends and allocates nothing; every cached answer waits for it.
func TestLearnHit(t *testing.T) {
	k := open(t, Options{})
	apply(t, k, small())
	as := addrs("8.8.8.8", "2606:4700::1", "::ffff:9.9.9.9", "9.9.9.10")
	if err := learnInto(k, t.Context(), vpn, as, time.Hour, 2*time.Hour); err != nil {
		t.Fatal(err)
	}
	sent := k.Changes()
	ctx := context.Background()
	if n := testing.AllocsPerRun(100, func() {
		if err := learnInto(k, ctx, vpn, as, time.Hour, 2*time.Hour); err != nil {
			t.Error(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if k.Changes() != sent {
		t.Errorf("%d messages were sent", k.Changes()-sent)
	}
}

func BenchmarkLearnHit(b *testing.B) {
	k := open(b, Options{})
	apply(b, k, small())
	as := addrs("8.8.8.8", "2606:4700::1")
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		if err := learnInto(k, ctx, vpn, as, time.Hour, 2*time.Hour); err != nil {
			b.Fatal(err)
		}
	}
}

// fresh is an address that was not used before.
func fresh(n uint32) netip.Addr {
	return netip.AddrFrom4([4]byte{1, byte(n >> 16), byte(n >> 8), byte(n)})
}

func benchmarkMiss(b *testing.B, o Options) {
	k := open(b, o)
	s := small()
	s.Config.SetSize = 1 << 24
	apply(b, k, s)
	ctx := context.Background()
	var n uint32
	as := make([]netip.Addr, 1)
	b.ReportAllocs()
	for b.Loop() {
		n++
		as[0] = fresh(n)
		if err := learnInto(k, ctx, vpn, as, time.Hour, time.Hour); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLearnMiss(b *testing.B)      { benchmarkMiss(b, Options{}) }
func BenchmarkLearnMissPlain(b *testing.B) { benchmarkMiss(b, Options{Force: nft.ModePlain}) }
func BenchmarkLearnMissReplica(b *testing.B) {
	benchmarkMiss(b, Options{Force: nft.ModeReplica, NoUpdate: true})
}
func BenchmarkLearnMissOld(b *testing.B) { benchmarkMiss(b, Options{NoUpdate: true}) }

func BenchmarkLearnParallel(b *testing.B) {
	k := open(b, Options{})
	s := small()
	s.Config.SetSize = 1 << 24
	apply(b, k, s)
	ctx := context.Background()
	var n atomic.Uint32
	b.SetParallelism(100)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		as := make([]netip.Addr, 1)
		for pb.Next() {
			as[0] = fresh(n.Add(1))
			if err := learnInto(k, ctx, vpn, as, time.Hour, time.Hour); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkAdopt reads what an earlier process left: 100,000 elements.
func BenchmarkAdopt(b *testing.B) {
	k := open(b, Options{})
	s := small()
	s.Config.SetSize = 1 << 24
	apply(b, k, s)
	for i := range uint32(100) {
		as := make([]netip.Addr, 1000)
		for j := range as {
			as[j] = fresh(i*1000 + uint32(j))
		}
		if err := learnInto(k, b.Context(), vpn, as, time.Hour, time.Hour); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		_ = k.Close()
		k = openMore(b, Options{})
		if n := apply(b, k, s); n != 0 {
			b.Fatalf("%d changes", n)
		}
	}
}

// BenchmarkPutBack measures how long an ordinary table with a thousand learned addresses
// is incomplete after another program has deleted it.
func BenchmarkPutBack(b *testing.B) {
	var told losses
	k := open(b, Options{Force: nft.ModePlain, OnLoss: told.add})
	apply(b, k, small())
	as := make([]netip.Addr, 1000)
	for i := range as {
		as[i] = fresh(uint32(i))
	}
	if err := learnInto(k, b.Context(), vpn, as, 2*time.Hour, 2*time.Hour); err != nil {
		b.Fatal(err)
	}
	learn(b, k, vpn, time.Hour, "9.9.9.9") // what lapses first comes back last
	var took measure.Durations
	for b.Loop() {
		seen := len(told.seen())
		if err := nftset.DeleteTable(gateway.TableName); err != nil {
			b.Fatal(err)
		}
		lost := time.Now()
		for !has(b, vpn.Set4, "9.9.9.9") {
		}
		took = append(took, time.Since(lost))
		eventually(b, time.Minute, func() bool { return len(told.seen()) > seen }) // it is ready for the next
	}
	took.Report(b)
}
