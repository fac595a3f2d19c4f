// Package updater keeps the lists that have a url fresh. It owns the files below
// STATE/lists-fetched: NAME is the content in use, which package lists reads and
// watches like any other list; .updater holds what else there is to remember.
//
// One update goes one way: source → fetch → verify → guard → store. Whatever goes
// wrong on it leaves the content in use as it is, is told by log, status and metrics,
// and is tried again later. A fetch leaves by its list's route only: its sockets carry
// the route's mark and its names are asked of the route's resolvers.
package updater
