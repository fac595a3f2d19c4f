// Package nft alone writes the nft table inet nameroute. It has three ideas: the
// table as a pure value (Desired, Table), the kernel side that makes the kernel's
// table equal to that value and puts learned addresses into sets (Kernel), and the
// watch that notices what other programs do to it.
package nft
