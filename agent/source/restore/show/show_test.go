package show

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cairn/agent/source"
	"cairn/agent/source/held"
	"cairn/agent/source/restore"
	"cairn/agent/source/wipe"
	files "cairn/archive/restore"
	"cairn/chunk"
	"cairn/snapshot"
)

func plan() *restore.Plan {
	at := time.Date(2026, 11, 20, 3, 0, 1, 0, time.Local)
	s := &snapshot.Snapshot{ID: chunk.ID{0x4f, 0x3a, 0x91, 0xc2}, Host: "cms1", Role: "primary", Start: snapshot.TimeOf(at)}
	logs := &snapshot.Snapshot{ID: chunk.ID{0xaa}, Host: "cms1", Start: snapshot.TimeOf(at.Add(time.Hour))}
	db := source.Part{Name: "db", Postgres: &source.Postgres{Server: source.Server{Host: "db.new", Port: 5433}}}
	return &restore.Plan{
		Source: "sophora", File: &source.File{},
		Origins: []*held.Origin{{Snapshot: s}, {Snapshot: logs, Class: source.Log}},
		Notes:   []string{"part extra is not in the snapshot"},
		Missing: []string{"part archive: it is not in the snapshot"},
		Guards: []restore.Guard{
			{Guard: source.Guard{PortClosed: "1399"}}, {Guard: source.Guard{NotRunning: "sophora"}, Why: "sophora is running (process 17)"},
		},
		Before: []source.Hook{{Name: "stop", Run: source.Run{Args: []string{"/srv/cms/bin/sophora.sh", "-stop"}}}},
		Wipes: []restore.Wipe{
			{Path: "/srv/cms/data", Found: wipe.Found{Exists: true, Dir: true, Files: 1203, Bytes: 3 << 20}},
			{Path: "/srv/cms/activemq-data", Empty: true, Found: wipe.Found{Exists: true, Dir: true, Files: 1, Bytes: 36}},
			{Path: "/srv/cms/solr"}, {Path: "/srv/cms/link", Err: errors.New("/srv/cms/link is a link: it may lead out of /srv/cms")},
		},
		Trees: []restore.Tree{
			{Part: source.Part{Name: "repository"}, From: "/srv/old/repository", To: "/srv/cms/repository", Files: 12, Bytes: 34 << 10,
				Compared: &files.Report{Created: 10, Updated: 1, MetaOnly: 1, Identical: 3}},
			{Part: source.Part{Name: "config"}, From: "/srv/cms/config", To: "/srv/cms/config", Files: 1, Bytes: 100, Lost: 2},
		},
		Streams: []restore.Stream{
			{Job: restore.Job{Part: db, File: "globals.sql"}, Way: restore.ToDatabase, Label: "roles", Bytes: 512},
			{Job: restore.Job{Part: db, File: "app.sql", As: "app2", Replace: true}, Way: restore.ToDatabase, Label: "app", Bytes: 1 << 20},
			{Job: restore.Job{Part: source.Part{Name: "fcrepo", Fedora: &source.Fedora{URL: "http://fedora/rest"}}, File: "fcrepo"}, Way: restore.ToRepository, Bytes: 5},
			{Job: restore.Job{Part: source.Part{Name: "list"}, File: "list.txt"}, Way: restore.Kept},
		},
		LeftOut: []restore.LeftOut{{Name: "/srv/old/repository/queue\x1b[2J", Class: source.Never, Why: "does harm when it comes back"}, {Name: "index", Class: source.Derived, Why: "can be made again"}},
		More:    3, Unwanted: 2,
		Rewrites: []restore.Rewrite{
			{Path: "/srv/cms/config/sophora.properties", Places: 1, Diff: "--- a\n+++ a\n@@ -2 +2 @@\n-port=1\n+port=2\n"},
			{Path: "/srv/cms/config/broken.xml", Err: errors.New("line 1: what begins with < has no end")}, {Path: "/srv/cms/config/right.xml", Places: 1},
		},
		Steps: []source.Step{
			{Hook: source.Hook{Name: "start", Shell: "bin/sophora.sh -start"}}, {Hook: source.Hook{Name: "step-2"}, Text: "start the replicas one by one,\nthen the others\n"},
			{Hook: source.Hook{Name: "tell", HTTP: &source.Request{Method: "POST", URL: "http://x/y"}}},
		},
		Runbook: "Switch the delivery.\n\nCall the desk.\n",
	}
}

// A19, A27, A31, D12: a plan as people read it, with follow-ups and runbook.
func TestText(t *testing.T) {
	t.Parallel()
	want, err := os.ReadFile(filepath.Join("testdata", "plan.txt"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), Text(plan())); diff != "" {
		t.Error(diff)
	}
	p := plan()
	p.Options = restore.Options{To: "/tmp/look", Rewrite: true, Delete: true, ForceGuards: true}
	p.Rewrites = p.Rewrites[2:]
	want, err = os.ReadFile(filepath.Join("testdata", "beside.txt"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), Text(p)); diff != "" {
		t.Error(diff)
	}
}

// What programs read holds the same, and what speaks against it.
func TestJSON(t *testing.T) {
	t.Parallel()
	text, err := json.Marshal(JSON(plan()))
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Type     string
		Source   string
		Files    []struct{ From, To string }
		Left     []struct{ Class string } `json:"left_out"`
		Refusals []struct{ Text, Override string }
	}
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if got.Type != "plan" || got.Source != "sophora" || len(got.Files) != 2 || got.Files[0].To != "/srv/cms/repository" || len(got.Left) != 2 {
		t.Errorf("%s", text)
	}
	var refusals []string
	for _, r := range got.Refusals {
		refusals = append(refusals, r.Text+" "+r.Override)
	}
	if diff := cmp.Diff([]string{"guard: sophora is running (process 17) --force", "part archive: it is not in the snapshot --allow-partial", "/srv/cms/link is a link: it may lead out of /srv/cms "}, refusals); diff != "" {
		t.Error(diff)
	}
}
