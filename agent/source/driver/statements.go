package driver

import (
	"iter"
	"strings"
)

// statements takes apart the text that pg_dumpall writes: comments are lines, texts are in single quotes (with E before them backslashes
// count), names in double quotes. There are no other quotes in it.
func statements(text string) iter.Seq[string] {
	return func(yield func(string) bool) {
		start := 0
		for i := 0; i < len(text); {
			switch c := text[i]; {
			case c == '\'' || c == '"':
				escapes := c == '\'' && i > 0 && (text[i-1] == 'E' || text[i-1] == 'e')
				i = afterQuote(text, i, escapes)
			case strings.HasPrefix(text[i:], "--"):
				end := strings.IndexByte(text[i:], '\n')
				if end < 0 {
					return
				}
				if strings.TrimSpace(text[start:i]) == "" {
					start = i + end
				}
				i += end
			case c == ';':
				if s := strings.TrimSpace(text[start:i]); s != "" && !yield(s) {
					return
				}
				i++
				start = i
			default:
				i++
			}
		}
	}
}

// afterQuote returns the place behind a quoted text that begins at i.
func afterQuote(text string, i int, escapes bool) int {
	quote := text[i]
	for i++; i < len(text); i++ {
		switch {
		case escapes && text[i] == '\\':
			i++
		case text[i] != quote:
		case i+1 < len(text) && text[i+1] == quote:
			i++
		default:
			return i + 1
		}
	}
	return len(text)
}
