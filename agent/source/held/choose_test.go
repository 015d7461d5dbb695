package held

import (
	"errors"
	"strings"
	"testing"
	"time"

	"cairn/agent/source"
	"cairn/chunk"
	"cairn/remote"
	"cairn/snapshot"
)

func at(hour int) time.Time { return time.Date(2026, 11, 20, hour, 0, 0, 0, time.UTC) }

// snap makes a snapshot of HOST/SOURCE with what may stand behind it: "/log", "partial", "safety", "replica".
func snap(n byte, hour int, host, name string, more ...string) *snapshot.Snapshot {
	s := &snapshot.Snapshot{ID: chunk.ID{n}, Host: host, Source: name, Series: host + "/" + name, Start: snapshot.TimeOf(at(hour)), Role: "primary"}
	for _, m := range more {
		switch m {
		case "partial":
			s.Partial = true
		case "safety":
			s.Tags = []string{m}
		case "replica":
			s.Role = m
		default:
			s.Series += m
		}
	}
	return s
}

// A1, A5, A29, A30: which snapshot a restore takes.
func TestChoose(t *testing.T) {
	t.Parallel()
	list := []*snapshot.Snapshot{
		snap(1, 1, "a", "cms"), snap(2, 2, "a", "cms"), snap(3, 3, "a", "cms", "partial"), snap(4, 4, "a", "cms", "/log"), snap(5, 5, "a", "cms", "/safety", "safety"),
		snap(6, 6, "b", "cms", "replica"), snap(7, 7, "a", "log"), snap(8, 8, "a", "fedora"), {ID: chunk.ID{9}, Host: "a", Start: snapshot.TimeOf(at(9))},
	}
	hidden := func(tag string) bool { return tag == "safety" }
	for _, c := range []struct {
		name string
		want Want
		id   byte // 0: an error
		says string
	}{
		{"the last complete one", Want{Source: "cms", Own: "a"}, 2, "snapshot 03000000 of " + at(3).Local().Format(timeFormat) + " is not complete: passed over"},
		{"at a time", Want{Source: "cms", Own: "a", At: at(1).Add(time.Minute)}, 1, ""},
		{"exactly at a time", Want{Source: "cms", Own: "a", At: at(2)}, 2, ""},
		{"before all", Want{Source: "cms", Own: "a", At: at(0)}, 0, "no complete snapshot of source cms at or before"},
		{"a class", Want{Source: "cms", Own: "a", Class: source.Log}, 4, ""},
		{"a source that is called like a class", Want{Source: "log", Own: "a"}, 7, ""},
		{"of another host by name", Want{Source: "cms", Own: "a", Host: "b"}, 6, ""},
		{"of another host by role", Want{Source: "cms", Own: "c", Role: "replica"}, 6, "taking those of b"},
		{"of no host in particular", Want{Source: "cms", Own: "c"}, 0, "several others: a, b"},
		{"the only host", Want{Source: "fedora", Own: "c"}, 8, "there are no snapshots of this host (c): taking those of a"},
		{"no such source", Want{Source: "cmd", Own: "a"}, 0, "no snapshot of source cmd"},
		{"which source", Want{Own: "a"}, 0, "several sources: cms, fedora, log"},
	} {
		c.want.Hidden = hidden
		got, err := Choose(list, c.want)
		if c.id == 0 {
			if err == nil || !strings.Contains(err.Error(), c.says) || remote.Hint(err) == "" {
				t.Errorf("%s: %+v, %v", c.name, got, err)
			}
			continue
		}
		if err != nil || got.Main.ID[0] != c.id || !strings.Contains(strings.Join(got.Notes, "\n"), c.says) || c.says == "" && len(got.Notes) > 0 {
			t.Errorf("%s: %+v, %v", c.name, got, err)
		}
	}
	only, err := Choose(list[2:3], Want{Source: "cms", Own: "a"})
	if err == nil || !strings.Contains(remote.Hint(err), "--from") {
		t.Errorf("a partial one alone: %+v, %v", only, err)
	}
	if _, err := Choose(nil, Want{}); !errors.Is(err, ErrNone) {
		t.Errorf("%v", err)
	}
}

// D1: classes with schedules of their own come from their own snapshots, of the same host and time.
func TestMore(t *testing.T) {
	t.Parallel()
	list := []*snapshot.Snapshot{
		snap(1, 1, "a", "js7", "/log"), snap(2, 2, "a", "js7"), snap(3, 3, "a", "js7", "/log"), snap(4, 4, "b", "js7", "/log"), snap(5, 1, "a", "js7", "/config"),
	}
	w := Want{Source: "js7", Own: "a", At: at(2), Classes: []source.Class{source.Log, source.Config, source.Data}}
	c, err := Choose(list, w)
	if err != nil {
		t.Fatal(err)
	}
	c.More(list, w)
	if c.Main.ID[0] != 2 || len(c.ByClass) != 2 || c.ByClass[source.Log].ID[0] != 1 || c.ByClass[source.Config].ID[0] != 5 {
		t.Errorf("%+v", c)
	}
}
