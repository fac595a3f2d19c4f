//go:build race

package lists

func init() { racing = true }
