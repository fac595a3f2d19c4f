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

// oversleeping measures from now on, until the function that it returns is called.
func oversleeping() func() time.Duration {
	stop, worst := make(chan struct{}), make(chan time.Duration)
	go func() { worst <- oversleeps(stop) }()
	return func() time.Duration {
		close(stop)
		return <-worst
	}
}
