package test

import "time"

// oversleeps is how late this process comes to its own work at worst: no answer can
// be seen sooner than that.
func oversleeps(stop <-chan struct{}) (worst time.Duration) {
	const nap = time.Millisecond
	for {
		select {
		case <-stop:
			return worst
		default:
		}
		began := time.Now()
		time.Sleep(nap)
		worst = max(worst, time.Since(began)-nap)
	}
}
