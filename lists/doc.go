// Package lists reads lists of names in the formats that people have, compiles all
// of them into one immutable index, and keeps that index up to date while the files
// change. It reads files only; it never talks to the network.
//
//	file → format (plain, hosts, dnsmasq, autoproxy) → Entry → Builder → Index
//
// An Index answers with one walk over a name which of all lists hold it. A Library
// owns the files: it loads them, falls back to the last good copy of a bad one,
// watches for changes and swaps the index behind an atomic pointer.
package lists
