// Package rewrite changes text files of an application for another machine: values in .properties files, attributes in XML, what a regular expression
// matches. It works on bytes and does no I/O; the caller says which files, and shows Diff before anything is written.
//
// Invariants
//   - Only values that are there are changed: no key, attribute or element is added, so a rule that meets the wrong file leaves it as it is.
//     Apply says how often a rule hit, so that one that meets nothing can be told.
//   - All other bytes stay: comments, order, line ends, quotes, encoding. What is put in is ASCII (escapes of the format for everything else), so
//     that the encoding of the file does not matter as long as it is a superset of ASCII; UTF-16 is refused.
//   - A file that is not understood is an error, and unchanged.
//   - Results are bounded: MaxSize in, twice that out.
//   - Diff does not show what stands behind the name of a secret: it goes to terminals and logs.
//
// Functions may be called concurrently.
package rewrite

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
)

// MaxSize is how large a file may be.
const MaxSize = 16 << 20

// Rule is one change. Exactly one is set.
type Rule struct {
	Properties map[string]string // KEY: VALUE
	XML        *XML
	Regex      *Regex
}

// XML sets an attribute of elements, e.g. element "param", where {name: url}, attribute "value".
type XML struct {
	Element   string            // as it is written, with its prefix
	Where     map[string]string // attributes that it must have
	Attribute string
	Value     string
}

// Regex replaces what matches (RE2), with $1 for groups.
type Regex struct {
	Match   string
	Replace string
}

var (
	errSize   = errors.New("it is larger than files that are rewritten may be")
	errWide   = errors.New("it is UTF-16, which cannot be rewritten")
	errBinary = errors.New("it is no text: it has a zero byte")
)

// Apply returns the new content, and how many places the rule was about: a place that is right already counts, too.
func Apply(r Rule, content []byte) (changed []byte, places int, err error) {
	switch {
	case len(content) > MaxSize:
		return nil, 0, errSize
	case bytes.HasPrefix(content, []byte("\xfe\xff")), bytes.HasPrefix(content, []byte("\xff\xfe")):
		return nil, 0, errWide
	case bytes.IndexByte(content, 0) >= 0:
		return nil, 0, errBinary
	}
	switch {
	case r.XML != nil:
		changed, places, err = setAttribute(content, r.XML)
	case r.Regex != nil:
		changed, places, err = replace(content, r.Regex)
	default:
		changed, places = setProperties(content, r.Properties)
	}
	if err == nil && len(changed) > 2*MaxSize {
		err = errSize
	}
	return changed, places, err
}

func replace(content []byte, r *Regex) (changed []byte, places int, err error) {
	re, err := regexp.Compile(r.Match)
	if err != nil {
		return nil, 0, err
	}
	at := 0
	for _, m := range re.FindAllSubmatchIndex(content, -1) {
		changed = append(changed, content[at:m[0]]...)
		changed = re.Expand(changed, []byte(r.Replace), content, m)
		at = m[1]
		places++
		if len(changed) > 2*MaxSize {
			return nil, 0, fmt.Errorf("%w once %q is replaced", errSize, r.Match)
		}
	}
	return append(changed, content[at:]...), places, nil
}
