package backup

import (
	"os"
	"strings"
	"sync"
	"testing"
)

// D8, D14, D15: logs grow and are rotated while they are read. What was read is what was there when reading began, of the recorded size; a log
// that gets another name in the middle is neither an error nor lost: it is in the next snapshot at the latest.
func TestRotatedLogs(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	old := strings.Repeat("an old line\n", 1000)
	for _, name := range []string{"app.log", "app.log.1", "grows.log"} {
		write(t, root+"/"+name, name+"\n"+old)
	}
	for _, name := range []string{"a.log", "z.log"} { // before and behind each other, whatever the order of reading
		write(t, root+"/daily/"+name, name+"\n"+old)
	}
	var once sync.Map
	s, o := newStore(), testOptions(t, root)
	o.Cache = newCache()
	o.fault = func(op, path string, _ int64) error {
		if _, done := once.LoadOrStore(op+path, true); done {
			return nil
		}
		switch op + " " + strings.TrimPrefix(path, root) {
		case "read /app.log": // logrotate: app.log.1 → app.log.2, app.log → app.log.1, and a new app.log
			check(t, os.Rename(root+"/app.log.1", root+"/app.log.2"))
			check(t, os.Rename(root+"/app.log", root+"/app.log.1"))
			return appendTo(root+"/app.log.1", "the last line of the old\n")
		case "read /grows.log":
			return appendTo(path, strings.Repeat("a new line\n", 5000))
		case "open /daily/a.log":
			return os.Rename(root+"/daily/z.log", root+"/daily/y.log")
		case "open /daily/z.log":
			return os.Rename(root+"/daily/a.log", root+"/daily/b.log")
		}
		return nil
	}
	report := mustRun(t, s, o)
	if report.Incomplete || report.ErrorCount > 0 || report.WarningCount == 0 {
		t.Errorf("errors %v, warnings %v", report.Errors, report.Warnings)
	}
	got := s.tree(t, report.Snapshot)
	for _, name := range []string{"/app.log", "/grows.log"} {
		n := got[root+name]
		if n == nil {
			t.Fatalf("%s is not there", name)
		}
		if text := string(s.bytesOf(t, n)); text != name[1:]+"\n"+old || n.Size != uint64(len(text)) {
			t.Errorf("%s: %d bytes, recorded %d", name, len(text), n.Size)
		}
	}
	o.fault = nil
	report = mustRun(t, s, o)
	s.expect(t, report.Snapshot, root)
	if got := s.tree(t, report.Snapshot); got[root+"/app.log.2"] == nil || got[root+"/app.log"] != nil || report.Incomplete {
		t.Errorf("after the rotation: %v", report.Errors)
	}
}
