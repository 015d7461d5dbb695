package fedora

import (
	"path/filepath"
	"strings"

	"cairn/agent/source"
)

// toRemote says how the server calls a path of this machine.
func toRemote(m []source.PathMap, local string) string {
	best := -1
	for i := range m {
		if under(local, m[i].Local) && (best < 0 || len(m[i].Local) > len(m[best].Local)) {
			best = i
		}
	}
	if best < 0 {
		return local
	}
	return moved(local, m[best].Local, m[best].Remote)
}

// toLocal says what a path of the server is here.
func toLocal(m []source.PathMap, remote string) string {
	best := -1
	for i := range m {
		if under(remote, m[i].Remote) && (best < 0 || len(m[i].Remote) > len(m[best].Remote)) {
			best = i
		}
	}
	if best < 0 {
		return remote
	}
	return moved(remote, m[best].Remote, m[best].Local)
}

func under(name, dir string) bool {
	name, dir = filepath.Clean(name), filepath.Clean(dir)
	return name == dir || dir == "/" || strings.HasPrefix(name, dir+"/")
}

func moved(name, from, to string) string {
	rest := strings.TrimPrefix(filepath.Clean(name), strings.TrimSuffix(filepath.Clean(from), "/"))
	return filepath.Join(to, rest)
}
