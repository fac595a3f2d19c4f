package problem

import "strings"

// Nearest returns the known word that a misspelled word most likely means, or ""
// where none is similar enough. Case and the choice of - or _ do not matter; of two
// equally similar words the first wins. A word of three letters or more may also be the
// beginning of the known one.
func Nearest(word string, known []string) string {
	best, nearest := max(1, len(word)/3)+1, ""
	for _, k := range known {
		if d := distance(fold(word), fold(k)); d < best && d < len(k) {
			best, nearest = d, k
		}
	}
	for _, k := range known {
		if nearest == "" && len(word) >= 3 && strings.HasPrefix(fold(k), fold(word)) {
			nearest = k
		}
	}
	return nearest
}

func fold(s string) string { return strings.ReplaceAll(strings.ToLower(s), "-", "_") }

// distance returns the optimal string alignment distance: the number of insertions,
// deletions, replacements and swaps of neighbours, in bytes, that turn a into b. It needs
// the last three rows of the table only.
func distance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row[0] = i + 1
		for j := range len(b) {
			replace := 1
			if a[i] == b[j] {
				replace = 0
			}
			row[j+1] = min(last[j+1]+1, row[j]+1, last[j]+replace)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}

// DidYouMean ends a message about an unknown word: it suggests the nearest known
// one, else lists all that are known, else is empty.
func DidYouMean(word string, known []string) string {
	if near := Nearest(word, known); near != "" {
		return "did you mean " + near + "?"
	}
	switch len(known) {
	case 0:
		return ""
	case 1:
		return "want " + known[0]
	}
	end := len(known) - 1
	return "want " + strings.Join(known[:end], ", ") + " or " + known[end]
}
