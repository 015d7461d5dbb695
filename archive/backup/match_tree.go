package backup

// Match compares a path in a snapshot ("/srv/a") with the patterns, for commands that look at trees: a pattern with a
// slash is compared with the whole path, one without with the last element. A `!pattern` takes back an earlier match.
func (m *Matcher) Match(path string, dir bool) bool {
	s := ruleset{}
	for i := range m.patterns {
		s.rules = append(s.rules, rule{&m.patterns[i], m.patterns[i].rooted})
	}
	return s.excluded(path, 0, dir)
}
