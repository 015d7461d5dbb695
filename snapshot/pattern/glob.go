package pattern

import (
	"errors"
	"strings"
	"unicode"
)

// glob is one element of a pattern. Most are a plain name, `*.ext` or `name*`; these need no loop.
type glob struct {
	kind globKind
	text string // literal, its part without the star, or the pattern
}

type globKind uint8

const (
	literal globKind = iota
	anyDepth
	anything
	suffix
	prefix
	general
)

var (
	errBackslash = errors.New("backslash at the end")
	errBracket   = errors.New("[ without ]")
)

func compileGlob(e string) (glob, error) {
	if e == "**" {
		return glob{kind: anyDepth}, nil
	}
	if err := checkGlob(e); err != nil {
		return glob{}, err
	}
	const special = `*?[\`
	switch {
	case !strings.ContainsAny(e, special):
		return glob{literal, e}, nil
	case strings.Trim(e, "*") == "":
		return glob{kind: anything}, nil
	case e[0] == '*' && !strings.ContainsAny(e[1:], special):
		return glob{suffix, e[1:]}, nil
	case e[len(e)-1] == '*' && !strings.ContainsAny(e[:len(e)-1], special):
		return glob{prefix, e[:len(e)-1]}, nil
	}
	return glob{general, e}, nil
}

// checkGlob refuses what git would silently never match.
func checkGlob(e string) error {
	for e != "" {
		switch e[0] {
		case '\\':
			if len(e) == 1 {
				return errBackslash
			}
			_, e = next(e[1:])
		case '[':
			_, rest, ok := matchClass(e, 'x')
			if !ok {
				return errBracket
			}
			e = rest
		default:
			e = e[1:]
		}
	}
	return nil
}

func (g *glob) match(name string) bool {
	switch g.kind {
	case literal:
		return g.text == name
	case anything, anyDepth:
		return true
	case suffix:
		return strings.HasSuffix(name, g.text)
	case prefix:
		return strings.HasPrefix(name, g.text)
	}
	return matchGlob(g.text, name)
}

// matchGlob goes back to the last star only, which is enough: linear in most cases, never more than len(p)·len(s).
func matchGlob(p, s string) bool {
	starP, starS, star := "", "", false
	for {
		if p != "" && p[0] == '*' {
			p = strings.TrimLeft(p, "*")
			starP, starS, star = p, s, true
			continue
		}
		if p == "" && s == "" {
			return true
		}
		if p != "" && s != "" {
			if restP, restS, ok := matchOne(p, s); ok {
				p, s = restP, restS
				continue
			}
		}
		if !star || starS == "" {
			return false
		}
		_, starS = next(starS)
		p, s = starP, starS
	}
}

// matchOne matches one character against the first element of p, which is not a star.
func matchOne(p, s string) (restP, restS string, ok bool) {
	c, restS := next(s)
	switch p[0] {
	case '?':
		return p[1:], restS, true
	case '[':
		hit, rest, _ := matchClass(p, c)
		return rest, restS, hit
	case '\\':
		p = p[1:]
	}
	want, rest := next(p)
	return rest, restS, want == c
}

// matchClass matches c against the bracket expression at the start of p.
func matchClass(p string, c rune) (hit bool, rest string, ok bool) {
	p = p[1:]
	negate := p != "" && (p[0] == '!' || p[0] == '^')
	if negate {
		p = p[1:]
	}
	for first := true; ; first = false {
		if p == "" {
			return false, "", false
		}
		if p[0] == ']' && !first {
			return hit != negate, p[1:], true
		}
		if name, after, found := namedClass(p); found {
			hit = hit || name(c)
			p = after
			continue
		}
		lo, after, good := classChar(p)
		if !good {
			return false, "", false
		}
		hi := lo
		p = after
		if len(p) > 1 && p[0] == '-' && p[1] != ']' {
			if hi, p, good = classChar(p[1:]); !good {
				return false, "", false
			}
		}
		hit = hit || lo <= c && c <= hi
	}
}

func classChar(p string) (rune, string, bool) {
	if p[0] == '\\' {
		p = p[1:]
	}
	if p == "" {
		return 0, "", false
	}
	c, rest := next(p)
	return c, rest, true
}

// namedClass recognises [:digit:] and its kin.
func namedClass(p string) (is func(rune) bool, rest string, ok bool) {
	if !strings.HasPrefix(p, "[:") {
		return nil, "", false
	}
	name, rest, ok := strings.Cut(p[2:], ":]")
	if !ok {
		return nil, "", false
	}
	switch name {
	case "alpha":
		is = unicode.IsLetter
	case "digit":
		is = unicode.IsDigit
	case "alnum":
		is = func(c rune) bool { return unicode.IsLetter(c) || unicode.IsDigit(c) }
	case "upper":
		is = unicode.IsUpper
	case "lower":
		is = unicode.IsLower
	case "space":
		is = unicode.IsSpace
	case "blank":
		is = func(c rune) bool { return c == ' ' || c == '\t' }
	case "punct":
		is = func(c rune) bool { return unicode.IsPunct(c) || unicode.IsSymbol(c) }
	case "cntrl":
		is = unicode.IsControl
	case "print":
		is = unicode.IsPrint
	case "graph":
		is = unicode.IsGraphic
	case "xdigit":
		is = func(c rune) bool { return strings.ContainsRune("0123456789abcdefABCDEF", c) }
	default:
		return nil, "", false
	}
	return is, rest, true
}
