package retention

import (
	"fmt"
	"slices"
	"strings"

	"cairn/snapshot"
)

// Key is what snapshots are grouped by.
type Key string

// The keys.
const (
	Series Key = "series"
	Host   Key = "host"
	Path   Key = "path" // all paths of a backup together
	Tag    Key = "tag"  // all tags together
	User   Key = "user"
	Source Key = "source"
	Role   Key = "role"

	Component Key = "component"
)

// values returns what the key finds in a snapshot, never nil for a key that there is.
func (k Key) values(s *snapshot.Snapshot) []string {
	switch k {
	case Series:
		return []string{s.Series}
	case Host:
		return []string{s.Host}
	case User:
		return []string{s.User}
	case Source:
		return []string{s.Source}
	case Role:
		return []string{s.Role}
	case Component:
		return []string{s.Component}
	case Path:
		return sorted(s.Paths)
	case Tag:
		return sorted(s.Tags)
	}
	return nil
}

func sorted(list []string) []string {
	list = append([]string{}, list...)
	slices.Sort(list)
	return list
}

// ParseGroupBy reads a list of keys separated by commas; "none" makes one group of all snapshots.
func ParseGroupBy(text string) ([]Key, error) {
	if text == "none" {
		return nil, nil
	}
	var keys []Key
	for name := range strings.SplitSeq(text, ",") {
		k := Key(strings.TrimSpace(name))
		if k.values(new(snapshot.Snapshot)) == nil {
			return nil, fmt.Errorf("snapshots cannot be grouped by %.80q: want series, host, path, tag, user, source, role or none", name)
		}
		if !slices.Contains(keys, k) {
			keys = append(keys, k)
		}
	}
	return keys, nil
}

// name says what the snapshots of a group have in common.
func name(keys []Key, s *snapshot.Snapshot) []Field {
	fields := make([]Field, 0, len(keys))
	for _, k := range keys {
		fields = append(fields, Field{k, k.values(s)})
	}
	return fields
}

// Field is one property that the snapshots of a group have in common.
type Field struct {
	Key    Key
	Values []string
}

// groupOf makes a text that is equal for snapshots of one group only, whatever their texts hold.
func groupOf(fields []Field) string { return fmt.Sprintf("%q", fields) }
