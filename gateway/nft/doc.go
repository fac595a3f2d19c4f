// Package nft reads and writes nft tables of family inet. It has three ideas: the
// table as a pure value (Table), the kernel side that makes the kernel's table equal to
// that value and puts learned addresses into sets (Kernel), and the watch that notices
// what other programs do to it. What the table holds is its callers' business.
package nft
