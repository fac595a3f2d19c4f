// Package updater keeps the lists that have a url fresh. It owns the files below
// STATE/lists-fetched: NAME is the content in use, which package lists reads and
// watches like any other list; .updater holds versions, metadata and downloads.
//
// An update runs in one direction: source → fetch → verify → guard → store. An error
// leaves the content in use as it is, is reported by log, status and metrics, and the
// update is tried again later. A list is fetched via its route only: the sockets carry
// the route's mark, and names are resolved by the route's resolvers.
package updater
