// Package lists keeps lists of names compiled and up to date. It reads files only, and
// never the network.
//
//	file → lists/format → lists/entry → lists/index
//
// A Library owns the files of the lists: it reads them, falls back to the last good copy of
// a bad one, watches for changes, and swaps the compiled index behind an atomic pointer. It
// stores the compiled form, so that a restart reads only what has changed.
package lists
