package main

import (
	"bytes"
	"encoding/json"
	"io"
	"testing"
	"time"

	"cairn/archive"
	"cairn/archive/backup"
	"cairn/chunk"
)

// B13: what is done, what there is and what remains, as fields; what is not known is left out.
func TestProgressJSON(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		tick tick
		want map[string]float64 // what must not be there is -1
	}{
		"known":      {tick{verb: "backup", files: 3, totalFiles: 10, bytes: 300, totalBytes: 1000, totalsKnown: true}, map[string]float64{"done": 3, "total": 10, "remaining": 7, "bytes_done": 300, "bytes_total": 1000, "bytes_remaining": 700}},
		"at the end": {tick{files: 10, totalFiles: 10, totalsKnown: true}, map[string]float64{"done": 10, "total": 10, "remaining": 0, "bytes_total": -1}},
		"not known":  {tick{files: 3, bytes: 300, errors: 2}, map[string]float64{"done": 3, "total": -1, "remaining": -1, "bytes_done": 300, "bytes_remaining": -1, "errors": 2}},
		"grown":      {tick{files: 12, totalFiles: 10, bytes: 300, totalBytes: 1000, totalsKnown: true}, map[string]float64{"done": 12, "total": -1, "remaining": -1, "bytes_remaining": 700}},
	} {
		var out bytes.Buffer
		e := &env{stdout: &out, stderr: io.Discard, json: true, progress: time.Hour}
		e.watch(func() tick { return c.tick })()
		var o map[string]any
		if err := json.Unmarshal(out.Bytes(), &o); err != nil || o["type"] != "progress" || o["unit"] != "files" {
			t.Fatalf("%s: %v: %s", name, err, &out)
		}
		for key, want := range c.want {
			if got, there := o[key].(float64); there != (want >= 0) || there && got != want {
				t.Errorf("%s: %s is %v, want %v", name, key, o[key], want)
			}
		}
	}
	var out bytes.Buffer
	for _, e := range []*env{{json: true}, {quiet: true, progress: time.Nanosecond}, {json: true, quiet: true, progress: time.Nanosecond}} {
		e.stdout, e.stderr = &out, &out
		e.watch(func() tick { t.Error("asked"); return tick{} })()
	}
	if out.Len() > 0 {
		t.Errorf("who did not ask is told: %s", &out)
	}
}

// B14: totals come from the last run of the series; nothing is looked at in order to count but in a first run that somebody watches.
func TestCounting(t *testing.T) {
	t.Parallel()
	tree := t.TempDir()
	for name, c := range map[string]struct {
		e     *env
		last  *archive.Last
		paths bool
		count bool
	}{
		"first, on a terminal":      {&env{terminal: true}, nil, true, true},
		"first, progress asked for": {&env{json: true, progress: time.Hour}, nil, true, true},
		"first, unwatched":          {&env{}, nil, true, false},
		"first, quiet":              {&env{terminal: true, quiet: true}, nil, true, false},
		"first, results only":       {&env{terminal: true, json: true}, nil, true, false},
		"a stream":                  {&env{terminal: true}, nil, false, false},
		"again":                     {&env{terminal: true, progress: time.Hour}, &archive.Last{Files: 7, Bytes: 70}, true, false},
	} {
		// A walk notes what it has found, so it shows in the counters whether there was one.
		o := backup.Options{Paths: []string{tree}, Params: chunk.Params{Poly: 0x3DA3358B4DC173, Min: 2 << 10, Max: 64 << 10, Bits: 12}, Progress: &backup.Progress{}}
		o.Progress.CountedFiles.Store(-1)
		c.e.stdout, c.e.stderr = io.Discard, io.Discard
		stop := c.e.watchBackup(t.Context(), o, c.last, c.paths)
		for range 200 {
			if o.Progress.CountedFiles.Load() != -1 || !c.count {
				break
			}
			time.Sleep(5 * time.Millisecond)
		}
		stop()
		if counted := o.Progress.CountedFiles.Load() != -1; counted != c.count {
			t.Errorf("%s: counted: %v", name, counted)
		}
	}
}
