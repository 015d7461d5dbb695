package backup

import (
	"os/user"
	"strconv"
	"sync"
)

// owners remembers the names of users and groups: a lookup parses /etc/passwd or asks a directory service,
// and a tree has few owners. An unknown id has the empty name.
type owners struct {
	users, groups sync.Map // uint32 → string
}

func (o *owners) user(id uint32) string {
	return remember(&o.users, id, func(s string) string {
		if u, err := user.LookupId(s); err == nil {
			return u.Username
		}
		return ""
	})
}

func (o *owners) group(id uint32) string {
	return remember(&o.groups, id, func(s string) string {
		if g, err := user.LookupGroupId(s); err == nil {
			return g.Name
		}
		return ""
	})
}

func remember(m *sync.Map, id uint32, look func(string) string) string {
	if name, ok := m.Load(id); ok {
		return name.(string)
	}
	name := look(strconv.FormatUint(uint64(id), 10))
	m.Store(id, name)
	return name
}
