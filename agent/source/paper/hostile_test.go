package paper

import "testing"

// What a writer to the archive says about a run leads nowhere but into its snapshot.
func TestHostileNames(t *testing.T) {
	t.Parallel()
	for text, good := range map[string]bool{
		`{"version":1,"parts":[{"name":"a","paths":["/srv/a"],"streams":[{"file":"x.sql","path":"/.cairn/streams/a/x.sql"},{"file":"changes/1.bin","path":"/.cairn/streams/a/changes/1.bin"}]}]}`: true,
		`{"version":1,"parts":[{"name":"a","paths":["/srv/../etc"]}]}`:                                            false,
		`{"version":1,"parts":[{"name":"a","paths":["srv"]}]}`:                                                    false,
		`{"version":1,"parts":[{"name":"a","streams":[{"file":"../x","path":"/.cairn/streams/a/x"}]}]}`:           false,
		`{"version":1,"parts":[{"name":"a","streams":[{"file":"x","path":"/.cairn/streams/../../etc/passwd"}]}]}`: false,
		`{"version":1,"parts":[{"name":"a","streams":[{"file":"x","path":"/etc/passwd"}]}]}`:                      false,
	} {
		if _, err := Parse([]byte(text)); (err == nil) != good {
			t.Errorf("%s: %v", text, err)
		}
	}
}
