package dump

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
			case c == '\\' && strings.TrimSpace(text[start:i]) == "": // a line for psql itself
				end := strings.IndexByte(text[i:], '\n')
				if end < 0 {
					return
				}
				i += end
				start = i
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

// MissingGlobals leaves out what concerns roles and tablespaces that are there. A tablespace cannot be made within a transaction.
func MissingGlobals(text string, there map[string]bool, replace bool) (script string, kept []string) {
	var b strings.Builder
	for statement := range statements(text) {
		what, name := globalOf(statement)
		create := strings.HasPrefix(what, "CREATE")
		switch {
		case name != "" && there[name] && (create || !replace):
			if create {
				kept = append(kept, name)
			}
		case what == "CREATE TABLESPACE":
			b.WriteString("COMMIT;\n" + statement + ";\nBEGIN;\n")
		default:
			b.WriteString(statement + ";\n")
		}
	}
	return b.String(), kept
}

// globalOf says what a statement of pg_dumpall does, and to whom; name is empty when it may be done in any case.
func globalOf(statement string) (what, name string) {
	for _, what := range [...]string{"CREATE ROLE", "ALTER ROLE", "COMMENT ON ROLE", "CREATE TABLESPACE", "ALTER TABLESPACE", "COMMENT ON TABLESPACE"} {
		if rest, ok := strings.CutPrefix(statement, what+" "); ok {
			return what, firstIdent(rest)
		}
	}
	return "", ""
}

func firstIdent(s string) string {
	quoted, isQuoted := strings.CutPrefix(s, `"`)
	if !isQuoted {
		name, _, _ := strings.Cut(s, " ")
		return name
	}
	var b strings.Builder
	for {
		before, after, _ := strings.Cut(quoted, `"`)
		b.WriteString(before)
		if !strings.HasPrefix(after, `"`) {
			return b.String()
		}
		b.WriteByte('"')
		quoted = after[1:]
	}
}

// Properties takes out of a dump that was made with --create what concerns database name itself: its CREATE, and the statements that give it its
// owner, settings, comment and rights, for a database called as.
func Properties(text, name, as string) (create string, alter []string) {
	for statement := range statements(text) {
		for _, before := range [...]string{"CREATE DATABASE ", "ALTER DATABASE ", "COMMENT ON DATABASE "} {
			rest, ok := strings.CutPrefix(statement, before)
			if after, named := cutIdent(rest, name); ok && named {
				if before == "CREATE DATABASE " {
					create = after
				} else {
					alter = append(alter, before+quoteIdent(as)+after)
				}
			}
		}
		for _, c := range [...]struct{ begin, before string }{{"ALTER ROLE ", " IN DATABASE "}, {"GRANT ", " ON DATABASE "}, {"REVOKE ", " ON DATABASE "}} {
			head, rest, ok := strings.Cut(statement, c.before)
			if after, named := cutIdent(rest, name); ok && named && strings.HasPrefix(statement, c.begin) {
				alter = append(alter, head+c.before+quoteIdent(as)+after)
			}
		}
	}
	return create, alter
}

// cutIdent cuts a name, quoted or not, from the beginning.
func cutIdent(s, name string) (after string, found bool) {
	after, found = strings.CutPrefix(s, quoteIdent(name))
	if !found {
		after, found = strings.CutPrefix(s, name)
	}
	return after, found && (after == "" || after[0] == ' ')
}

func quoteIdent(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }
