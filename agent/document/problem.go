package document

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Place is where something stands in a file. The zero Place is nowhere.
type Place struct {
	File   *File
	Line   int // from 1
	Column int // from 1, in characters
}

// File is a text with its name.
type File struct {
	Name  string
	lines []string
}

// Problem is one mistake.
type Problem struct {
	Place   Place
	Message string
}

// Problems gathers mistakes. The zero value is empty. More than maxProblems are not kept: a reader begins with the first.
type Problems struct {
	list []Problem
	more int
	told map[lineOf]bool // lines that are not to be spoken of again
}

type lineOf struct {
	file *File
	line int
}

const maxProblems = 50

// Add notes a mistake. The same one at the same place is noted once.
func (p *Problems) Add(at Place, format string, args ...any) {
	problem := Problem{at, strings.Map(visible, fmt.Sprintf(format, args...))}
	switch {
	case p.told[lineOf{at.File, at.Line}]:
	case slices.Contains(p.list, problem):
	case len(p.list) == maxProblems:
		p.more++
	default:
		p.list = append(p.list, problem)
	}
}

// Settle ends a stage: lines in which something is wrong are not spoken of again, because what follows from a mistake is noise.
func (p *Problems) Settle() {
	p.told = map[lineOf]bool{}
	for _, problem := range p.list {
		p.told[lineOf{problem.Place.File, problem.Place.Line}] = true
	}
}

// Len is how many there are.
func (p *Problems) Len() int { return len(p.list) + p.more }

// Err is nil without problems, and an *Error otherwise.
func (p *Problems) Err() error {
	if len(p.list) == 0 {
		return nil
	}
	list := slices.Clone(p.list)
	slices.SortStableFunc(list, func(a, b Problem) int {
		return cmp.Or(strings.Compare(a.Place.name(), b.Place.name()), cmp.Compare(a.Place.Line, b.Place.Line), cmp.Compare(a.Place.Column, b.Place.Column))
	})
	return &Error{list, p.more}
}

// Error is all that is wrong with a file.
type Error struct {
	Problems []Problem // by place
	More     int       // that many were left out
}

func (e *Error) Error() string {
	texts := make([]string, len(e.Problems), len(e.Problems)+1)
	for i, p := range e.Problems {
		texts[i] = p.String()
	}
	if e.More > 0 {
		texts = append(texts, fmt.Sprintf("and %d more", e.More))
	}
	return strings.Join(texts, "\n")
}

// String is the message with its place, and the line with a caret.
func (p Problem) String() string {
	if p.Place.File == nil {
		return p.Message
	}
	text := fmt.Sprintf("%s:%d:%d: %s", p.Place.File.Name, p.Place.Line, p.Place.Column, p.Message)
	if line := p.Place.excerpt(); line != "" {
		text += "\n" + line
	}
	return text
}

func (p Place) name() string {
	if p.File == nil {
		return ""
	}
	return p.File.Name
}

// maxExcerpt is how much of a line is shown, in characters.
const maxExcerpt = 120

// excerpt is the line of a place with a caret below.
func (p Place) excerpt() string {
	if p.File == nil || p.Line < 1 || p.Line > len(p.File.lines) {
		return ""
	}
	line := []rune(strings.Map(visible, conceal(strings.TrimRight(p.File.lines[p.Line-1], " \t\r"))))
	if len(line) > maxExcerpt {
		line = append(line[:maxExcerpt:maxExcerpt], '…')
	}
	margin := fmt.Sprintf("> %3d | ", p.Line)
	indent := strings.Repeat(" ", utf8.RuneCountInString(margin))
	for i := range min(max(p.Column-1, 0), maxExcerpt) {
		if i < len(line) && line[i] == '\t' {
			indent += "\t"
		} else {
			indent += " "
		}
	}
	return margin + string(line) + "\n" + indent + "^"
}

// visible keeps a file from speaking to the terminal of who reads about it.
func visible(r rune) rune {
	if unicode.IsControl(r) && r != '\t' {
		return '\ufffd'
	}
	return r
}

// secretName is the end of a name behind which a secret may stand, and what comes between.
var (
	secretName  = regexp.MustCompile(`(?i)(passwords?|passwd|passphrase|pwd|secrets?|tokens?|api[-_]?key|authorization|cookie|credentials?)["']?\s*[,:=]\s*`)
	urlPassword = regexp.MustCompile(`(://[^/\s:@]*:)[^/\s@]*@`)
)

// conceal hides what may be a secret in a line that is going to be shown: all that follows a name that sounds like one, unless it is
// a map or a list, which is how a secret is referred to.
func conceal(line string) string {
	line = urlPassword.ReplaceAllString(line, "${1}***@")
	for from := 0; ; {
		found := secretName.FindStringIndex(line[from:])
		if found == nil {
			return line
		}
		end := from + found[1]
		if end < len(line) && !strings.ContainsRune("{[#", rune(line[end])) {
			return line[:end] + "***"
		}
		from = end
	}
}

// SecretName says whether what is called so is a secret, by its name.
func SecretName(name string) bool { return secretEnd.MatchString(name) }

var secretEnd = regexp.MustCompile(`(?i)(password|passwd|passphrase|pwd|secret|token|api[-_]?key|authorization|cookie|credential)$`)

// Find is the place of a text that stands at this place or in the lines after it; this place, if it is not found there.
func (p Place) Find(text string, lines int) Place {
	if p.File == nil {
		return p
	}
	for i := max(p.Line, 1); i < p.Line+lines && i <= len(p.File.lines); i++ {
		line, from := p.File.lines[i-1], 0
		if i == p.Line {
			from = offset(line, p.Column-1)
		}
		if at := strings.Index(line[from:], text); at >= 0 {
			return Place{p.File, i, utf8.RuneCountInString(line[:from+at]) + 1}
		}
	}
	return p
}

// offset is where the n-th character of a line begins.
func offset(line string, n int) int {
	for i := range line {
		if n <= 0 {
			return i
		}
		n--
	}
	return len(line)
}
