package rewrite

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// attribute is one of an element: its value is text[at:end], between quotes.
type attribute struct {
	name    string
	at, end int
	quote   byte
}

// setAttribute goes through the tags of an XML file. It does not check that the file is well-formed beyond what it needs to find them.
func setAttribute(text []byte, x *XML) (changed []byte, places int, err error) {
	done := 0
	for at := 0; ; {
		open := bytes.IndexByte(text[at:], '<')
		if open < 0 {
			return append(changed, text[done:]...), places, nil
		}
		at += open
		end, err := markup(text, at)
		if err != nil {
			return nil, 0, fmt.Errorf("line %d: %w", 1+bytes.Count(text[:at], []byte("\n")), err)
		}
		if end > 0 { // not a tag that begins an element
			at = end
			continue
		}
		name, list, end, err := startTag(text, at)
		if err != nil {
			return nil, 0, fmt.Errorf("line %d: %w", 1+bytes.Count(text[:at], []byte("\n")), err)
		}
		at = end
		a := x.find(text, name, list)
		if a == nil {
			continue
		}
		places++
		if unescapeXML(text[a.at:a.end]) == x.Value {
			continue
		}
		changed = append(changed, text[done:a.at]...)
		changed = append(changed, escapeXML(x.Value, a.quote)...)
		done = a.end
	}
}

// find returns the attribute that is to be set, if the element is one of those meant.
func (x *XML) find(text []byte, name string, list []attribute) (found *attribute) {
	if name != x.Element {
		return nil
	}
	fits := 0
	for i, a := range list {
		if want, ok := x.Where[a.name]; ok && want == unescapeXML(text[a.at:a.end]) {
			fits++
		}
		if a.name == x.Attribute {
			found = &list[i]
		}
	}
	if fits < len(x.Where) {
		return nil
	}
	return found
}

var (
	errOpen = errors.New("what begins with < has no end")
	errTag  = errors.New("a tag is not as XML has them")
)

// markup returns the end of a comment, a section of characters, an instruction, a declaration or an end tag; 0 for the begin of an element.
func markup(text []byte, at int) (end int, err error) {
	rest := text[at:]
	until := func(begin, close string) (int, error) {
		n := bytes.Index(rest[len(begin):], []byte(close))
		if n < 0 {
			return 0, errOpen
		}
		return at + len(begin) + n + len(close), nil
	}
	switch {
	case bytes.HasPrefix(rest, []byte("<!--")):
		return until("<!--", "-->")
	case bytes.HasPrefix(rest, []byte("<![CDATA[")):
		return until("<![CDATA[", "]]>")
	case bytes.HasPrefix(rest, []byte("<?")):
		return until("<?", "?>")
	case bytes.HasPrefix(rest, []byte("</")):
		return until("</", ">")
	case bytes.HasPrefix(rest, []byte("<!")):
		n, err := doctype(rest)
		return at + n, err
	}
	return 0, nil
}

// doctype is the length of a declaration, which may have others in brackets.
func doctype(b []byte) (int, error) {
	depth := 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '<':
			if bytes.HasPrefix(b[i:], []byte("<!--")) {
				n := bytes.Index(b[i:], []byte("-->"))
				if n < 0 {
					return 0, errOpen
				}
				i += n + 2
				continue
			}
			depth++
		case '>':
			if depth--; depth == 0 {
				return i + 1, nil
			}
		case '"', '\'':
			n := bytes.IndexByte(b[i+1:], b[i])
			if n < 0 {
				return 0, errOpen
			}
			i += n + 1
		}
	}
	return 0, errOpen
}

// startTag reads <name a="b" …> or <name …/>.
func startTag(text []byte, at int) (name string, list []attribute, end int, err error) {
	i := at + 1
	word := func() string {
		from := i
		for i < len(text) && !strings.ContainsRune(" \t\r\n=/><\"'", rune(text[i])) {
			i++
		}
		return string(text[from:i])
	}
	blank := func() {
		for i < len(text) && strings.ContainsRune(" \t\r\n", rune(text[i])) {
			i++
		}
	}
	if name = word(); name == "" {
		return "", nil, 0, errTag
	}
	for {
		blank()
		switch {
		case i >= len(text):
			return "", nil, 0, errOpen
		case text[i] == '>':
			return name, list, i + 1, nil
		case text[i] == '/' && i+1 < len(text) && text[i+1] == '>':
			return name, list, i + 2, nil
		}
		a := attribute{name: word()}
		blank()
		if a.name == "" || i >= len(text) || text[i] != '=' {
			return "", nil, 0, errTag
		}
		i++
		blank()
		if i >= len(text) || text[i] != '"' && text[i] != '\'' {
			return "", nil, 0, errTag
		}
		a.quote, a.at = text[i], i+1
		n := bytes.IndexByte(text[a.at:], a.quote)
		if n < 0 {
			return "", nil, 0, errOpen
		}
		a.end = a.at + n
		i = a.end + 1
		list = append(list, a)
	}
}

// unescapeXML reads a value. References to entities that a file declares itself stay as they are.
func unescapeXML(b []byte) string {
	var out strings.Builder
	for len(b) > 0 {
		i := bytes.IndexByte(b, '&')
		if i < 0 {
			out.Write(b)
			break
		}
		out.Write(b[:i])
		b = b[i:]
		end := bytes.IndexByte(b, ';')
		if end < 0 {
			out.Write(b)
			break
		}
		if r, ok := reference(string(b[1:end])); ok {
			out.WriteRune(r)
		} else {
			out.Write(b[:end+1])
		}
		b = b[end+1:]
	}
	return out.String()
}

func reference(name string) (rune, bool) {
	switch name {
	case "lt":
		return '<', true
	case "gt":
		return '>', true
	case "amp":
		return '&', true
	case "quot":
		return '"', true
	case "apos":
		return '\'', true
	}
	digits, ok := strings.CutPrefix(name, "#")
	if !ok {
		return 0, false
	}
	base := 10
	if hex, is := strings.CutPrefix(digits, "x"); is {
		digits, base = hex, 16
	}
	n, err := strconv.ParseUint(digits, base, 21)
	return rune(n), err == nil
}

// escapeXML writes a value that stands between quotes, in ASCII.
func escapeXML(value string, quote byte) string {
	var out strings.Builder
	for _, r := range value {
		switch {
		case r == '&':
			out.WriteString("&amp;")
		case r == '<':
			out.WriteString("&lt;")
		case r == rune(quote) && quote == '"':
			out.WriteString("&quot;")
		case r == rune(quote):
			out.WriteString("&apos;")
		case r < ' ' || r > '~':
			fmt.Fprintf(&out, "&#%d;", r)
		default:
			out.WriteRune(r)
		}
	}
	return out.String()
}
