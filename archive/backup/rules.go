package backup

import "strings"

// IsOptionRule tells the rules in a snapshot's list of excludes that are no patterns: what they leave out depends on more
// than the path.
func IsOptionRule(rule string) bool {
	switch {
	case strings.HasPrefix(rule, ruleLargerThan), strings.HasPrefix(rule, ruleIfPresent), rule == ruleCaches, rule == ruleOneFileSystem:
		return true
	}
	return false
}
