// Package learned keeps the addresses that answers brought: until when each is in its nft
// set, and for which names it was learned. A Store owns the one connection that writes,
// because an owned nft table and its elements belong to one socket; one goroutine makes
// all transactions, answers that wait share them, and a table that is being applied lets
// them in between its steps.
package learned
