package seafile

import (
	"bufio"
	"cairn/agent/format"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

var kindDump = format.Damage("damaged-dump", "the database does not come back, and without it no library does")

// tables is what a dump of seafile_db says of the libraries.
type tables struct {
	branch  bool              // the table was there
	heads   map[string]string // library → commit
	names   map[string]string
	origins map[string]string // shared folder → library that has its objects
	columns map[string][]string
}

func newTables() *tables {
	return &tables{heads: map[string]string{}, names: map[string]string{}, origins: map[string]string{}, columns: map[string][]string{
		// in the order of seafile_db, for dumps without definitions
		"Branch": {"id", "name", "repo_id", "commit_id"}, "VirtualRepo": {"id", "repo_id", "origin_repo", "path", "base_commit"}, "RepoInfo": {"id", "repo_id", "name"},
	}}
}

// dump reads one dump.
func (s *seafile) dump(d format.Dump, t *tables) error {
	f, err := d.Open()
	if err != nil {
		s.Unreadable(d.Name, err)
		return s.Err()
	}
	defer f.Close() // only read
	if err := t.read(f); err != nil && s.Err() == nil {
		s.Found(kindDump, d.Name, "%v", err)
	}
	return s.Err()
}

// read takes the rows of three tables out of a stream of SQL: CREATE TABLE for the order of columns, and INSERT INTO. All else is passed over,
// whatever it is.
func (t *tables) read(src io.Reader) error {
	x := &lexer{src: bufio.NewReaderSize(src, format.BufferSize)}
	for {
		first, err := x.next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		switch {
		case first.is("CREATE"):
			err = t.create(x)
		case first.is("INSERT"), first.is("REPLACE"):
			err = t.insert(x)
		case first.is(";"):
		default:
			err = x.skip()
		}
		if err == io.EOF {
			return errors.New("it ends within a statement: the dump was cut off")
		}
		if err != nil {
			return err
		}
	}
}

// known returns the name of a table that matters, as in columns.
func (t *tables) known(name token) (string, bool) {
	for known := range t.columns {
		if strings.EqualFold(known, name.text) && !name.value {
			return known, true
		}
	}
	return "", false
}

// create learns the columns of CREATE TABLE [IF NOT EXISTS] name ( column type …, KEY … ).
func (t *tables) create(x *lexer) error {
	name, err := x.nameBefore("(")
	table, known := t.known(name)
	if err != nil || !known {
		return x.skipUnless(err)
	}
	t.branch = t.branch || table == "Branch"
	var columns []string
	depth, start := 1, true
	for depth > 0 {
		w, err := x.next()
		if err != nil {
			return err
		}
		switch {
		case w.is(";"):
			return nil
		case w.is("("):
			depth++
		case w.is(")"):
			depth--
		case w.is(","):
			start = depth == 1
			continue
		case start && depth == 1 && len(columns) < maxColumns && (w.quoted || !slices.Contains(clauses(), strings.ToUpper(w.text))):
			columns = append(columns, w.text)
		}
		start = false
	}
	t.columns[table] = columns
	return x.skip()
}

// clauses are words at the beginning of what is no column.
func clauses() []string {
	return []string{"PRIMARY", "UNIQUE", "KEY", "INDEX", "CONSTRAINT", "FOREIGN", "FULLTEXT", "CHECK"}
}

// insert reads INSERT [IGNORE] INTO name [(columns)] VALUES (…),(…).
func (t *tables) insert(x *lexer) error {
	name, err := x.nameBefore("(", "VALUES")
	table, known := t.known(name)
	if err != nil || !known {
		return x.skipUnless(err)
	}
	t.branch = t.branch || table == "Branch"
	columns := t.columns[table]
	if x.last.is("(") {
		if columns, err = x.row(); err != nil {
			return err
		}
	}
	for {
		w, err := x.next()
		switch {
		case err != nil:
			return err
		case w.is(";"):
			return nil
		case !w.is("("):
			continue
		}
		row, err := x.row()
		if err != nil {
			return err
		}
		t.add(table, columns, row)
	}
}

// add keeps what a row says.
func (t *tables) add(table string, columns, row []string) {
	get := func(column string) string {
		if i := slices.Index(columns, column); i >= 0 && i < len(row) {
			return row[i]
		}
		return ""
	}
	lib := get("repo_id")
	if !uuidName.MatchString(lib) {
		return
	}
	switch table {
	case "Branch":
		if id := get("commit_id"); format.IsHex(id, 40) && get("name") == "master" {
			t.heads[lib] = id
		}
	case "VirtualRepo":
		if origin := get("origin_repo"); uuidName.MatchString(origin) {
			t.origins[lib] = origin
		}
	case "RepoInfo":
		t.names[lib] = get("name")
	}
}

// token is a word, a value in quotes or a sign.
type token struct {
	text          string
	quoted, value bool // in quotes of any kind; in those of a string
}

func (t token) is(word string) bool { return !t.quoted && strings.EqualFold(t.text, word) }

const (
	maxToken   = 4096 // what is longer is cut: ids and names are shorter, and nothing else is looked at
	maxColumns = 256
)

// lexer cuts SQL into tokens, as mysqldump, mariadb-dump and sqlite3 write it. Comments are passed over, those with a version number, too.
type lexer struct {
	src  *bufio.Reader
	last token
	buf  []byte
}

// nameBefore returns the last word before one of the ends; ";" ends it, too.
func (x *lexer) nameBefore(ends ...string) (token, error) {
	var name token
	for {
		w, err := x.next()
		if err != nil {
			return name, err
		}
		if w.is(";") || slices.ContainsFunc(ends, w.is) {
			return name, nil
		}
		name = w
	}
}

// row returns the values up to the closing parenthesis.
func (x *lexer) row() ([]string, error) {
	var row []string
	for depth := 1; ; {
		w, err := x.next()
		switch {
		case err != nil:
			return nil, err
		case w.is("("):
			depth++
		case w.is(")"):
			if depth--; depth == 0 {
				return row, nil
			}
		case w.is(","), len(row) >= maxColumns:
		case w.is(";"):
			return nil, fmt.Errorf("a row is not closed")
		default:
			row = append(row, w.text)
		}
	}
}

// skip passes over the rest of a statement.
func (x *lexer) skip() error { return x.skipUnless(nil) }

func (x *lexer) skipUnless(err error) error {
	for err == nil && !x.last.is(";") {
		_, err = x.next()
	}
	return err
}

// next returns the next token; io.EOF at the end.
func (x *lexer) next() (token, error) {
	for {
		c, err := x.src.ReadByte()
		if err != nil {
			return token{}, err
		}
		peek, _ := x.src.Peek(1)
		after := byte(0)
		if len(peek) > 0 {
			after = peek[0]
		}
		switch {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			continue
		case c == '#', c == '-' && after == '-':
			err = x.until("\n")
		case c == '/' && after == '*':
			err = x.until("*/")
		case c == '\'' || c == '"' || c == '`':
			return x.keep(x.quote(c))
		case isWord(c):
			return x.keep(x.word(c))
		default:
			return x.keep(token{text: string(rune(c))}, nil)
		}
		if err != nil {
			return token{}, err
		}
	}
}

func (x *lexer) keep(t token, err error) (token, error) {
	x.last = t
	return t, err
}

func (x *lexer) until(end string) error {
	for at := 0; at < len(end); {
		c, err := x.src.ReadByte()
		if err != nil {
			return err
		}
		switch c {
		case end[at]:
			at++
		case end[0]:
			at = 1
		default:
			at = 0
		}
	}
	return nil
}

func isWord(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c == '.' || c == '$' || c >= 0x80
}

func (x *lexer) word(c byte) (token, error) {
	x.buf = append(x.buf[:0], c)
	for {
		c, err := x.src.ReadByte()
		if err == nil && isWord(c) {
			x.grow(c)
			continue
		}
		if err == nil {
			err = x.src.UnreadByte()
		}
		if err == io.EOF {
			err = nil
		}
		return token{text: string(x.buf)}, err
	}
}

func (x *lexer) grow(c byte) {
	if len(x.buf) < maxToken {
		x.buf = append(x.buf, c)
	}
}

// quote reads up to the closing quote: doubled or behind a backslash it is part of the text.
func (x *lexer) quote(q byte) (token, error) {
	x.buf = x.buf[:0]
	for {
		c, err := x.src.ReadByte()
		if err == nil && c == '\\' && q != '`' {
			if c, err = x.src.ReadByte(); err == nil {
				x.grow(c)
				continue
			}
		}
		if err != nil {
			return token{}, err
		}
		if c == q {
			if after, _ := x.src.Peek(1); len(after) == 0 || after[0] != q {
				return token{string(x.buf), true, q == '\''}, nil
			}
			_, _ = x.src.Discard(1) // it was peeked at
		}
		x.grow(c)
	}
}
