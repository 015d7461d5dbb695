package remote

import (
	"fmt"
	"io/fs"
	"strings"
)

// Limits of names: what S3 (1024 bytes a key) and Linux file systems (255 bytes an element) both keep.
const (
	MaxName    = 1024
	MaxElement = 255
)

// TempPrefix begins the file names that drivers use for unfinished objects. No valid name has
// an element that begins with it, so an unfinished object can neither be listed nor read.
const TempPrefix = ".tmp-"

// ValidName says why name cannot name an object, or returns nil. The error wraps fs.ErrInvalid and is permanent.
func ValidName(name string) error {
	if cause := invalid(name); cause != "" {
		return Permanent(fmt.Errorf("object name %.80q: %s: %w", name, cause, fs.ErrInvalid))
	}
	return nil
}

// ValidPrefix says why prefix cannot be listed, or returns nil: it is empty, or a valid name and "/".
func ValidPrefix(prefix string) error {
	if prefix == "" {
		return nil
	}
	dir, ok := strings.CutSuffix(prefix, "/")
	if !ok {
		return Permanent(fmt.Errorf("object prefix %.80q: does not end with /: %w", prefix, fs.ErrInvalid))
	}
	return ValidName(dir)
}

func invalid(name string) (cause string) {
	if name == "" {
		return "empty"
	}
	if len(name) > MaxName {
		return fmt.Sprintf("longer than %d bytes", MaxName)
	}
	for i := 0; i < len(name); i++ {
		if name[i] < ' ' || name[i] > '~' {
			return "not printable ASCII"
		}
	}
	for rest, more := name, true; more; {
		var elem string
		elem, rest, more = strings.Cut(rest, "/")
		switch {
		case elem == "":
			return "an element is empty"
		case elem == "." || elem == "..":
			return "an element is . or .."
		case len(elem) > MaxElement:
			return fmt.Sprintf("an element is longer than %d bytes", MaxElement)
		case strings.HasPrefix(elem, TempPrefix):
			return "an element begins with " + TempPrefix
		}
	}
	return ""
}

// pairSuffix ends the names in pair-trees. Wire format, do not change.
const pairSuffix = ".bin"

// PairTree returns the name of an object in a three-level pair-tree, Fedora's layout:
// PairTree("binaries", "abcdef…") is "binaries/ab/cd/ef/abcdef….bin". hexID has at least 6 lower-case
// hex digits; ValidName refuses what becomes of anything shorter.
func PairTree(prefix string, hexID string) string {
	var a, b, c string
	if len(hexID) >= 6 {
		a, b, c = hexID[0:2], hexID[2:4], hexID[4:6]
	}
	return prefix + "/" + a + "/" + b + "/" + c + "/" + hexID + pairSuffix
}

// ParsePairTree takes a name made by PairTree apart. It accepts nothing else: PairTree gives back the same name.
func ParsePairTree(name string) (prefix, hexID string, ok bool) {
	rest, ok := strings.CutSuffix(name, pairSuffix)
	if !ok {
		return "", "", false
	}
	slash := strings.LastIndexByte(rest, '/')
	if slash < 0 {
		return "", "", false
	}
	dir, hexID := rest[:slash], rest[slash+1:]
	if len(hexID) < 6 || !lowerHex(hexID) {
		return "", "", false
	}
	prefix, ok = strings.CutSuffix(dir, "/"+hexID[0:2]+"/"+hexID[2:4]+"/"+hexID[4:6])
	if !ok || ValidName(name) != nil {
		return "", "", false
	}
	return prefix, hexID, true
}

func lowerHex(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
