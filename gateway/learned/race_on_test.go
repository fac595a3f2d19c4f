//go:build race

package learned

// raceSlack is how much slower than promised things may be: the race detector slows
// down by ten, and shares the machine with other packages' tests.
const raceSlack = 5
