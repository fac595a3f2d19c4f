//go:build race

package nft

// slack is how much slower than promised things may be: the race detector slows
// down by ten, and shares the machine with other packages' tests.
const slack = 5
