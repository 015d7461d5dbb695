package backup

import "strings"

// Match compares a path in a snapshot ("/srv/a") with the patterns, for commands that look at trees: a pattern with a
// slash is compared with the whole path, one without with the last element. A `!pattern` takes back an earlier match.
func (m *Matcher) Match(path string, dir bool) bool {
	s := ruleset{}
	for i := range m.patterns {
		s.rules = append(s.rules, rule{&m.patterns[i], m.patterns[i].rooted})
	}
	return s.excluded(path, 0, dir)
}

// IsOptionRule tells the rules in a snapshot's list of excludes that are no patterns: what they leave out depends on more
// than the path.
func IsOptionRule(rule string) bool {
	switch {
	case strings.HasPrefix(rule, ruleLargerThan), strings.HasPrefix(rule, ruleIfPresent), rule == ruleCaches, rule == ruleOneFileSystem:
		return true
	}
	return false
}
