package rewrite

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
)

// setProperties gives the keys that a .properties file has other values: `key = value`, `key: value` or `key value`, continued over lines by a
// backslash at their ends.
func setProperties(content []byte, values map[string]string) (changed []byte, places int) {
	for rest := content; len(rest) > 0; {
		n := logicalLine(rest)
		line := rest[:n]
		rest = rest[n:]
		key, at, end := property(line)
		value, ok := values[key]
		if !ok || key == "" {
			changed = append(changed, line...)
			continue
		}
		places++
		if unescape(line[at:end]) == value {
			changed = append(changed, line...)
			continue
		}
		changed = append(changed, line[:at]...)
		if at > 0 && !strings.ContainsRune("=: \t\f", rune(line[at-1])) {
			changed = append(changed, '=') // a key without anything behind it
		}
		changed = append(changed, escapeProperty(value)...)
		changed = append(changed, line[end:]...)
	}
	return changed, places
}

// logicalLine is the length of the next line with its end, and with those that continue it. A comment is not continued.
func logicalLine(b []byte) int {
	lead := bytes.TrimLeft(b, " \t\f")
	comment := len(lead) > 0 && (lead[0] == '#' || lead[0] == '!')
	at := 0
	for at < len(b) {
		end := bytes.IndexAny(b[at:], "\r\n")
		if end < 0 {
			return len(b)
		}
		end += at
		next := end + 1
		if b[end] == '\r' && next < len(b) && b[next] == '\n' {
			next++
		}
		if comment || !oddBackslashes(b[:end]) {
			return next
		}
		at = next
	}
	return len(b)
}

func oddBackslashes(b []byte) bool {
	return (len(b)-len(bytes.TrimRight(b, `\`)))%2 == 1
}

// property returns the key of a line, and where its value begins and ends; no key for comments and blank lines.
func property(line []byte) (key string, at, end int) {
	end = len(bytes.TrimRight(line, "\r\n"))
	begin := 0
	for begin < end && isBlank(line[begin]) {
		begin++
	}
	if begin == end || line[begin] == '#' || line[begin] == '!' {
		return "", 0, 0
	}
	at = begin
	for at < end && !isBlank(line[at]) && line[at] != '=' && line[at] != ':' {
		if line[at] == '\\' {
			at++
		}
		at++
	}
	at = min(at, end)
	key = unescape(line[begin:at])
	for at < end && isBlank(line[at]) {
		at++
	}
	if at < end && (line[at] == '=' || line[at] == ':') {
		at++
		for at < end && isBlank(line[at]) {
			at++
		}
	}
	return key, at, end
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\f' }

// unescape reads a key or a value. Bytes beyond ASCII stay what they are: keys and values are compared as they are written.
func unescape(b []byte) string {
	var out strings.Builder
	for i := 0; i < len(b); i++ {
		if b[i] != '\\' || i+1 == len(b) {
			out.WriteByte(b[i])
			continue
		}
		i++
		switch c := b[i]; c {
		case 't':
			out.WriteByte('\t')
		case 'n':
			out.WriteByte('\n')
		case 'r':
			out.WriteByte('\r')
		case 'f':
			out.WriteByte('\f')
		case 'u':
			n, size := unicodeEscape(b[i+1:])
			out.WriteRune(n)
			i += size
		case '\r', '\n': // continued: with the blanks that the next line begins with
			if c == '\r' && i+1 < len(b) && b[i+1] == '\n' {
				i++
			}
			for i+1 < len(b) && isBlank(b[i+1]) {
				i++
			}
		default:
			out.WriteByte(c)
		}
	}
	return out.String()
}

// unicodeEscape reads what follows \u, with a second half where it takes two; it says how many bytes that are.
func unicodeEscape(b []byte) (rune, int) {
	first, ok := hex4(b)
	if !ok {
		return 'u', 0
	}
	if utf16.IsSurrogate(first) && len(b) >= 10 && b[4] == '\\' && b[5] == 'u' {
		if second, ok := hex4(b[6:]); ok {
			return utf16.DecodeRune(first, second), 10
		}
	}
	return first, 4
}

func hex4(b []byte) (rune, bool) {
	if len(b) < 4 {
		return 0, false
	}
	n, err := strconv.ParseUint(string(b[:4]), 16, 16)
	return rune(n), err == nil
}

// escapeProperty writes a value, in ASCII.
func escapeProperty(value string) string {
	var out strings.Builder
	for i, r := range value {
		switch {
		case r == '\\':
			out.WriteString(`\\`)
		case r == '\n':
			out.WriteString(`\n`)
		case r == '\r':
			out.WriteString(`\r`)
		case r == '\t':
			out.WriteString(`\t`)
		case r == '\f':
			out.WriteString(`\f`)
		case r == ' ' && i == 0:
			out.WriteString(`\ `)
		case r < ' ' || r > '~':
			for _, half := range utf16.Encode([]rune{r}) {
				fmt.Fprintf(&out, `\u%04X`, half)
			}
		default:
			out.WriteRune(r)
		}
	}
	return out.String()
}
