// Package epoch tells those who remember answers when what decides them has changed.
package epoch

import "sync/atomic"

var current atomic.Uint64

// Advance ends all that was remembered before. It is called once a change is visible.
func Advance() { current.Add(1) }

// Now returns a number that each change makes greater. Who reads it before he asks, and
// keeps it with the answer, may use the answer for as long as it is the same.
func Now() uint64 { return current.Load() }
