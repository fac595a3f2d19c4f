// Package nft reads and writes nft tables of family inet. A Table is a value; an
// Application makes the kernel's table equal to it, step by step; Commit changes the
// elements of sets; a Watch notices what other programs do. What the tables are for is
// the business of the callers.
package nft
