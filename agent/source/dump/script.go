package dump

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
)

// Script passes a dump of MariaDB or MySQL on, statement by statement as the client program understands them, so that what looks like a
// statement within a text, a comment or the body of a routine is not taken for one. It changes only `CREATE DATABASE` and `USE`, and leaves
// out what stands between those of databases that are not wanted.
type Script struct {
	src *bufio.Reader
	out io.Writer
	// place is asked for each database: its new name, and whether it is wanted.
	place func(name string) (as string, wanted bool, err error)

	keep        bool // what comes is wanted
	delimiter   []byte
	quote       byte // we are in: ' " ` or - (comment to the end of the line) or * (comment)
	noBackslash bool // sql_mode
	ansiQuotes  bool
}

const (
	scriptRead = 256 << 10
	lookAhead  = 32       // bytes that are enough to tell what begins
	modeLimit  = 4 << 10  // of a statement that sets sql_mode
	shortLimit = 64 << 10 // of statements that are looked at as a whole, and of comments between statements
)

func NewScript(src io.Reader, out io.Writer, place func(string) (string, bool, error)) *Script {
	return &Script{src: bufio.NewReaderSize(src, scriptRead), out: out, place: place, keep: true, delimiter: []byte(";")}
}

// Run passes everything on. It ends with the first error of the source, of out, or of place.
func (s *Script) Run() error {
	for {
		lead, err := s.lead()
		if err == io.EOF {
			return s.pass(lead)
		}
		if err == nil {
			err = s.statement(lead)
		}
		if err != nil {
			return err
		}
	}
}

// pass writes what is wanted.
func (s *Script) pass(b []byte) error {
	if !s.keep || len(b) == 0 {
		return nil
	}
	_, err := s.out.Write(b)
	return err
}

// lead takes blanks and comments before a statement. It returns io.EOF when nothing follows.
func (s *Script) lead() ([]byte, error) {
	var lead []byte
	for {
		b, err := s.peek()
		if err != nil {
			return lead, err
		}
		n := 0
		switch {
		case s.quote != 0:
			n, _ = s.scan(b, true)
		case b[0] == ' ' || b[0] == '\t' || b[0] == '\n' || b[0] == '\r':
			n = 1
		default:
			if n = s.comment(b); n == 0 {
				return lead, nil
			}
		}
		lead = append(lead, b[:n]...)
		if len(lead) > shortLimit {
			return nil, errors.New("a comment of the dump is too long")
		}
		_, _ = s.src.Discard(n)
	}
}

// peek returns what is buffered, at least lookAhead bytes unless the source ends.
func (s *Script) peek() ([]byte, error) {
	if s.src.Buffered() < lookAhead {
		if b, err := s.src.Peek(lookAhead); err != nil {
			if err == io.EOF && len(b) > 0 {
				return b, nil
			}
			return nil, err
		}
	}
	return s.src.Peek(s.src.Buffered())
}

// statement passes one statement on, behind its lead.
func (s *Script) statement(lead []byte) error {
	b, _ := s.peek()
	head := strings.ToUpper(string(b[:min(len(b), lookAhead)]))
	switch {
	case strings.HasPrefix(head, "DELIMITER "):
		return s.setDelimiter(lead)
	case strings.HasPrefix(head, "USE ") || strings.HasPrefix(head, "USE`"), strings.HasPrefix(head, "CREATE DATABASE "):
		text, err := s.short()
		if err != nil {
			return err
		}
		return s.database(lead, text)
	}
	if strings.HasPrefix(head, "/*!") && strings.Contains(head, "SET SQL_MODE") {
		b, _ = s.src.Peek(modeLimit) // an error comes again
	}
	if m := sqlMode.FindSubmatch(b[:min(len(b), modeLimit)]); m != nil {
		s.noBackslash = bytes.Contains(m[1], []byte("NO_BACKSLASH_ESCAPES"))
		s.ansiQuotes = bytes.Contains(m[1], []byte("ANSI_QUOTES")) || bytes.Contains(m[1], []byte("ANSI,"))
	}
	if err := s.pass(lead); err != nil {
		return err
	}
	return s.body(s.pass)
}

// sqlMode is how a dump sets the mode in which a routine, trigger or event was made, and sets it back (then there is no text).
var sqlMode = regexp.MustCompile(`^(?i:/\*!\d+ SET sql_mode\s*=\s*)(?:'([^']*)'|@saved_sql_mode)`)

// setDelimiter takes a line that is meant for the client program. It is passed on in any case, because the program has to follow.
func (s *Script) setDelimiter(lead []byte) error {
	line, err := s.src.ReadSlice('\n')
	if err != nil {
		return fmt.Errorf("a line of the dump that sets the delimiter: %w", err)
	}
	word := bytes.TrimSpace(line[len("DELIMITER "):])
	if len(word) == 0 || len(word) > lookAhead/2 || bytes.ContainsAny(word, "'\"`\\ \t") {
		return fmt.Errorf("the dump sets the delimiter to %q", word)
	}
	s.delimiter = bytes.Clone(word)
	if err := s.pass(lead); err != nil {
		return err
	}
	_, err = s.out.Write(line)
	return err
}

// short takes a whole statement.
func (s *Script) short() ([]byte, error) {
	var text []byte
	err := s.body(func(b []byte) error {
		if text = append(text, b...); len(text) > shortLimit {
			return errors.New("a statement of the dump that names a database is too long")
		}
		return nil
	})
	return text, err
}

// body takes a statement to its delimiter, or to the end of the source.
func (s *Script) body(take func([]byte) error) error {
	for {
		b, err := s.peek()
		if err == io.EOF {
			return nil // whether the dump was to end here, is for others to judge
		}
		if err != nil {
			return err
		}
		n, done := s.scan(b, false)
		if err := take(b[:n]); err != nil {
			return err
		}
		_, _ = s.src.Discard(n)
		if done {
			return nil
		}
	}
}

// scan says how much of b belongs to the statement, and whether it ends there. What is too near to the end of b to be told is left, unless b
// is all that comes. With gap it takes just the comment in which it is.
func (s *Script) scan(b []byte, gap bool) (n int, done bool) {
	last := len(b) < lookAhead
	for n < len(b) {
		if s.quote != 0 {
			k, closed := s.quoted(b[n:], last)
			n += k
			if closed {
				s.quote = 0
			} else {
				return n, false
			}
			if gap {
				return n, true
			}
			continue
		}
		rest := b[n:]
		switch {
		case len(rest) < lookAhead && !last && n > 0:
			return n, false
		case bytes.HasPrefix(rest, s.delimiter):
			return n + len(s.delimiter), true
		case rest[0] == '\'' || rest[0] == '"' || rest[0] == '`':
			s.quote = rest[0]
			n++
		default:
			n += max(1, s.comment(rest))
		}
	}
	return n, false
}

// comment enters the comment that b begins with, and returns the length of what opens it; 0 when it is none. /*! and /*M! open none: the
// server executes what is in them.
func (s *Script) comment(b []byte) int {
	switch {
	case b[0] == '#':
		s.quote = '-'
		return 1
	case len(b) >= 3 && b[0] == '-' && b[1] == '-' && b[2] <= ' ', len(b) == 2 && b[0] == '-' && b[1] == '-':
		s.quote = '-'
		return 2
	case len(b) >= 3 && b[0] == '/' && b[1] == '*' && b[2] != '!' && (len(b) < 4 || b[2] != 'M' || b[3] != '!'):
		s.quote = '*'
		return 2
	}
	return 0
}

// quoted says how much of b is within the quotes or the comment, and whether it is closed there.
func (s *Script) quoted(b []byte, last bool) (n int, closed bool) {
	switch s.quote {
	case '-':
		if i := bytes.IndexByte(b, '\n'); i >= 0 {
			return i + 1, true
		}
		return len(b), false
	case '*':
		if i := bytes.Index(b, []byte("*/")); i >= 0 {
			return i + 2, true
		}
		if b[len(b)-1] == '*' && !last {
			return len(b) - 1, false
		}
		return len(b), false
	}
	escapes := s.quote == '\'' && !s.noBackslash || s.quote == '"' && !s.noBackslash && !s.ansiQuotes
	for n < len(b) {
		rest := b[n:]
		end := bytes.IndexByte(rest, s.quote)
		if end < 0 {
			end = len(rest)
		}
		slash := -1
		if escapes {
			slash = bytes.IndexByte(rest[:end], '\\')
		}
		switch {
		case slash < 0 && end == len(rest):
			return len(b), false
		case slash < 0:
			return n + end + 1, true
		case n+slash+2 > len(b): // what is escaped has not come yet
			if last {
				return len(b), false
			}
			return n + slash, false
		}
		n += slash + 2
	}
	return n, false
}

// database passes a CREATE DATABASE or USE on, with the name that the database is to have.
func (s *Script) database(lead, text []byte) error {
	name, from, to, err := nameIn(string(text))
	if err != nil {
		return err
	}
	as, wanted, err := s.place(name)
	if err != nil {
		return err
	}
	s.keep = wanted
	if !wanted {
		return nil
	}
	if as != name {
		lead = nil // its comment names the old one
	}
	if err := s.pass(lead); err != nil {
		return err
	}
	return s.pass([]byte("\n" + string(text[:from]) + Backquote(as) + string(text[to:])))
}

// nameIn finds the name in the statements that mysqldump writes: CREATE DATABASE /*!32312 IF NOT EXISTS*/ `name` …; USE `name`;
func nameIn(text string) (name string, from, to int, err error) {
	from = strings.IndexByte(text, '`')
	if from < 0 {
		return "", 0, 0, fmt.Errorf("no name of a database is in %q", text)
	}
	var b strings.Builder
	for to = from + 1; to < len(text); to++ {
		if text[to] != '`' {
			b.WriteByte(text[to])
			continue
		}
		if to+1 == len(text) || text[to+1] != '`' {
			return b.String(), from, to + 1, nil
		}
		b.WriteByte('`')
		to++
	}
	return "", 0, 0, fmt.Errorf("no name of a database is in %q", text)
}

// Backquote quotes a name for SQL.
func Backquote(s string) string { return "`" + strings.ReplaceAll(s, "`", "``") + "`" }
