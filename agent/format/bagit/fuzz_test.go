package bagit

import (
	"path"
	"strings"
	"testing"
)

// C4: a line of a manifest that is let pass names a file within the bag.
func FuzzLines(f *testing.F) {
	f.Add("abcd  data/a", false)
	f.Add("ABCD *data/%0A%25", true)
	f.Add("https://x - data/../../etc", true)
	f.Add("00 ./data/a", false)
	f.Fuzz(func(t *testing.T, line string, tag bool) {
		within := func(file string) {
			if checkPath(file, tag) != nil {
				return
			}
			if full := path.Join("top", file); !strings.HasPrefix(full, "top/") || !tag && !strings.HasPrefix(full, "top/data/") {
				t.Errorf("%q leads to %q", file, full)
			}
		}
		if digest, file, err := parseLine(line); err == nil {
			if strings.ToLower(digest) != digest || digest == "" {
				t.Errorf("digest %q", digest)
			}
			within(file)
		}
		if url, length, file, err := parseFetch(line); err == nil {
			if url == "" || length < -1 {
				t.Errorf("%q %d", url, length)
			}
			within(file)
		}
		for label := range parseInfo([]byte(line)) {
			if strings.Contains(label, ":") {
				t.Errorf("label %q", label)
			}
		}
	})
}
