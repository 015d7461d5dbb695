package fedora

import (
	"html"
	"regexp"
	"strings"
	"unicode"
)

var (
	// Pages of servers and proxies keep scripts and styles out of what people read.
	hidden = regexp.MustCompile(`(?is)<(script|style|head)\b.*?</(script|style|head)\s*>|<!--.*?-->`)
	title  = regexp.MustCompile(`(?is)<title[^>]*>(.*?)</title`)
	tag    = regexp.MustCompile(`(?s)<[^>]*>`)
)

func isHTML(contentType, body string) bool {
	start := strings.ToLower(strings.TrimSpace(body[:min(len(body), 200)]))
	return strings.HasPrefix(strings.ToLower(contentType), "text/html") && strings.HasPrefix(start, "<") ||
		strings.HasPrefix(start, "<!doctype html") || strings.HasPrefix(start, "<html")
}

// quoted is the body of an answer as people read it, behind a colon.
func quoted(a *answer) string {
	text := a.body
	if a.html {
		name := ""
		if m := title.FindStringSubmatch(text); m != nil {
			name = m[1] + ". "
		}
		text = html.UnescapeString(tag.ReplaceAllString(name+hidden.ReplaceAllString(text, " "), " "))
	}
	text = printable(text, 2000)
	switch {
	case text == "":
		return ", without a message"
	case a.html:
		return ", with a web page: " + text
	}
	return ": " + text
}

// printable makes text from elsewhere fit for a terminal: lines stay, everything else that is no printing character becomes a space.
func printable(text string, most int) string {
	var b strings.Builder
	for line := range strings.Lines(strings.ToValidUTF8(text, "�")) {
		words := strings.FieldsFunc(line, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) })
		if len(words) == 0 {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(strings.Join(words, " "))
		if b.Len() > most {
			return strings.ToValidUTF8(b.String()[:most], "") + "…"
		}
	}
	return b.String()
}
