package backup

import (
	"fmt"
	"io"
	"strings"

	"golang.org/x/sys/unix"
)

// cacheHeader is the signature of CACHEDIR.TAG (https://bford.info/cachedir/): 43 bytes.
const cacheHeader = "Signature: 8a477f597d28d172789f06886806bc55"

// marker is a name whose presence says that a directory's content is not wanted. With a header it must be a regular
// file that begins so.
type marker struct{ name, header string }

func parseMarker(s string) (marker, error) {
	name, header, _ := strings.Cut(s, ":")
	if name == "" || strings.Contains(name, "/") {
		return marker{}, fmt.Errorf("exclude-if-present %q: want NAME or NAME:header, NAME without a slash", s)
	}
	return marker{name, header}, nil
}

// markers returns those of the options, which applyDefaults has checked.
func (o *Options) markers() []marker {
	var list []marker
	for _, s := range o.ExcludeIfPresent {
		if m, err := parseMarker(s); err == nil {
			list = append(list, m)
		}
	}
	if o.ExcludeCaches {
		list = append(list, marker{"CACHEDIR.TAG", cacheHeader})
	}
	return list
}

// markerIn returns the name of the first marker that holds for an opened directory. The directory and the marker are
// kept, so that a restored cache is still known for one; everything else in it is left out.
func (r *run) markerIn(d *dir, names []dirent) string {
	for _, m := range r.markers {
		for _, n := range names {
			if n.name == m.name && (m.header == "" || r.hasHeader(d, m)) {
				return m.name
			}
		}
	}
	return ""
}

func (r *run) hasHeader(d *dir, m marker) bool {
	st, err := statAt(d.h.fd, m.name, false)
	if err != nil || st.size < uint64(len(m.header)) { // fifos and the like have no size
		return false
	}
	fd, _, err := openFileAt(d.h.fd, m.name)
	if err != nil {
		return false // whoever may not read the tag gets the directory backed up
	}
	defer closeFD(fd)
	buf := make([]byte, len(m.header))
	_, err = io.ReadFull(readerFunc(func(p []byte) (int, error) {
		n, err := again(func() (int, error) { return unix.Read(fd, p) })
		if n == 0 && err == nil {
			err = io.EOF
		}
		return max(n, 0), err
	}), buf)
	return err == nil && string(buf) == m.header
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
