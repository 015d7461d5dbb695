package rewrite

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	maxMiddle = 1500 // lines of which it is worked out which are the same: memory and time grow with the square
	maxLine   = 300  // characters that are shown of a line
	maxShown  = 200  // lines that are shown of a file
)

// Diff shows the lines that differ, as `diff -U0` does. What may be a secret is hidden, long lines and long lists are cut.
func Diff(name string, before, after []byte) string {
	a, b := split(before), split(after)
	head := 0
	for head < len(a) && head < len(b) && bytes.Equal(a[head], b[head]) {
		head++
	}
	tail := 0
	for tail < len(a)-head && tail < len(b)-head && bytes.Equal(a[len(a)-1-tail], b[len(b)-1-tail]) {
		tail++
	}
	var out strings.Builder
	fmt.Fprintf(&out, "--- %s\n+++ %s\n", visible(name), visible(name))
	shown := 0
	for _, h := range hunks(a[head:len(a)-tail], b[head:len(b)-tail]) {
		fmt.Fprintf(&out, "@@ -%s +%s @@\n", span(head+h.a, h.aEnd-h.a), span(head+h.b, h.bEnd-h.b))
		for _, side := range []struct {
			sign  string
			lines [][]byte
		}{{"-", a[head+h.a : head+h.aEnd]}, {"+", b[head+h.b : head+h.bEnd]}} {
			for _, line := range side.lines {
				if shown++; shown > maxShown {
					out.WriteString("…\n")
					return out.String()
				}
				out.WriteString(side.sign + readable(line) + "\n")
			}
		}
	}
	return out.String()
}

func split(b []byte) [][]byte {
	lines := bytes.SplitAfter(b, []byte("\n"))
	if len(lines[len(lines)-1]) == 0 {
		lines = lines[:len(lines)-1]
	}
	return lines
}

func span(at, n int) string {
	switch n {
	case 0:
		return fmt.Sprintf("%d,0", at)
	case 1:
		return fmt.Sprint(at + 1)
	}
	return fmt.Sprintf("%d,%d", at+1, n)
}

// hunk is a stretch of lines in the place of another one.
type hunk struct{ a, aEnd, b, bEnd int }

// hunks finds what differs between two lists of lines by their longest common subsequence.
func hunks(a, b [][]byte) (list []hunk) {
	if len(a) == 0 && len(b) == 0 {
		return nil
	}
	if len(a) > maxMiddle || len(b) > maxMiddle {
		return []hunk{{0, len(a), 0, len(b)}}
	}
	width := len(b) + 1
	common := make([]uint16, (len(a)+1)*width) // of a[i:] and b[k:]
	for i := len(a) - 1; i >= 0; i-- {
		for k := len(b) - 1; k >= 0; k-- {
			if bytes.Equal(a[i], b[k]) {
				common[i*width+k] = common[(i+1)*width+k+1] + 1
			} else {
				common[i*width+k] = max(common[(i+1)*width+k], common[i*width+k+1])
			}
		}
	}
	var h hunk
	end := func(i, k int) {
		if h.aEnd, h.bEnd = i, k; h.a < i || h.b < k {
			list = append(list, h)
		}
	}
	i, k := 0, 0
	for i < len(a) && k < len(b) {
		switch {
		case bytes.Equal(a[i], b[k]):
			end(i, k)
			i, k = i+1, k+1
			h.a, h.b = i, k
		case common[(i+1)*width+k] >= common[i*width+k+1]:
			i++
		default:
			k++
		}
	}
	end(len(a), len(b))
	return list
}

// secret is a name behind which a secret may stand, with its value as attributes, properties and YAML have them.
var (
	secret      = regexp.MustCompile(`(?i)((?:passwords?|passwd|passphrase|pwd|secrets?|tokens?|api[-_]?key|credentials?)[\w.-]*(?:["']?\s*[=:]\s*|[ \t]+))("[^"]*"|'[^']*'|[^\s<>]+)`)
	urlPassword = regexp.MustCompile(`(://[^/\s:@]*:)[^/\s@]*@`)
	named       = regexp.MustCompile(`(?i)(=\s*["'](?:[\w.-]*(?:password|passwd|passphrase|pwd|secret|token|api[-_]?key|credential)s?)["'].*?\bvalue\s*=\s*)("[^"]*"|'[^']*')`)
)

// readable is a line for terminals and logs.
func readable(line []byte) string {
	text := visible(strings.TrimRight(string(line), "\r\n"))
	text = urlPassword.ReplaceAllString(text, "${1}***@")
	text = named.ReplaceAllString(text, "${1}***")
	text = secret.ReplaceAllString(text, "${1}***")
	if utf8.RuneCountInString(text) > maxLine {
		text = string([]rune(text)[:maxLine]) + "…"
	}
	return text
}

func visible(text string) string {
	return strings.Map(func(r rune) rune {
		if r != '\t' && !unicode.IsPrint(r) {
			return '\ufffd'
		}
		return r
	}, text)
}
