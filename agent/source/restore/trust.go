package restore

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"cairn/agent/source"
)

// Foreign lists what a snapshot, and not this machine, wants to be run, or read as a secret, by this restore. Whoever can write to an
// archive writes the source files in it: such a file may stop an application, and may just as well run anything, or send a key to a server
// of its own. Steps are not among it; each of them is agreed to by itself.
func (p *Plan) Foreign() (list []string) {
	add := func(format string, args ...any) {
		if text := fmt.Sprintf(format, args...); !slices.Contains(list, text) {
			list = append(list, text)
		}
	}
	if p.Options.Kept {
		for i := range p.Before {
			h := &p.Before[i]
			add("hook %s runs %s", h.Name, HookText(h))
			for _, s := range hookSecrets(h) {
				add("hook %s reads the secret %s", h.Name, s)
			}
		}
	}
	for i := range p.Streams {
		s := &p.Streams[i]
		if !s.foreign && !p.Options.Kept {
			continue
		}
		name, at := s.Part.Name, server(&s.Part)
		switch {
		case s.Way == ToProgram:
			add("part %s runs %s", name, s.Target())
			for _, key := range slices.Sorted(maps.Keys(s.Part.Command.Restore.Secrets)) {
				add("part %s reads the secret %s", name, s.Part.Command.Restore.Secrets[key])
			}
		case s.Way == ToRepository && s.Part.Fedora.Password != nil:
			add("part %s sends the secret %s to %s", name, *s.Part.Fedora.Password, s.Part.Fedora.URL)
		case s.Way == ToDatabase && at != nil:
			if len(at.Client) > 0 {
				add("part %s runs %s", name, strings.Join(at.Client, " "))
			}
			if at.Password != nil {
				add("part %s sends the secret %s to its server %s", name, *at.Password, at.Host)
			}
		}
	}
	return list
}

func hookSecrets(h *source.Hook) (list []source.Secret) {
	for _, key := range slices.Sorted(maps.Keys(h.Run.Secrets)) {
		list = append(list, h.Run.Secrets[key])
	}
	if h.HTTP != nil {
		for _, s := range []*source.Secret{h.HTTP.Password, h.HTTP.Token} {
			if s != nil {
				list = append(list, *s)
			}
		}
	}
	return list
}
