package tests

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"cairn/tests/crash"
)

// The power goes: what was not synced is gone, or some of it. The program writes down each change that it makes in the directories
// of its members, and crash.Disk makes of that what a disk may hold after each of them. Nothing that was reported as done by then may be
// lost. The cache may be gone too, or be torn.

// outage is a run of commands of which everything was written down.
type outage struct {
	*mortal
	disks   []*crash.Disk // by member
	record  []crash.Recorded
	at      int // of record: so many are applied
	reached []stage
}

// stage is what had been reported when so much was recorded, and a copy of the cache of that time.
type stage struct {
	records int
	done    []done
	cache   string
}

func newOutage(t *testing.T, k, m int) *outage {
	t.Helper()
	o := &outage{mortal: newMortal(t, k, m)}
	for _, dir := range o.dirs() {
		disk, err := crash.Load(dir)
		if err != nil {
			t.Fatal(err)
		}
		o.disks = append(o.disks, disk)
	}
	o.reach(nil)
	return o
}

// runs runs a command that writes down what it does.
func (o *outage) runs(arguments ...string) {
	o.t.Helper()
	if r := o.faulty(url.Values{"record": {o.path("record")}}, arguments...); r.code != 0 {
		o.t.Fatal(r)
	}
	list, err := crash.Record(o.path("record"))
	if err != nil {
		o.t.Fatal(err)
	}
	o.reach(list)
}

func (o *outage) reach(record []crash.Recorded) {
	o.t.Helper()
	s := stage{records: len(record), cache: o.path(fmt.Sprint("cache then ", len(o.reached)))}
	s.done = append(s.done, o.done...)
	copyTree(o.t, o.path("home"), s.cache)
	o.record, o.reached = record, append(o.reached, s)
}

// backs makes a backup that writes down what it does.
func (o *outage) backs() {
	o.t.Helper()
	n := len(o.done)
	put(o.t, filepath.Join(o.tree, "b/3"), fmt.Sprint("changed ", n), false)
	put(o.t, filepath.Join(o.tree, fmt.Sprint("c/", n)), string(random(fmt.Sprint(n), 10_000)), false)
	o.runs("backup", o.tree)
	o.done = append(o.done, done{time: o.timeOf("latest"), tree: o.keep()})
	o.reached[len(o.reached)-1].done = append([]done(nil), o.done...)
}

// forgets forgets all but the last snapshots. From when it begins nobody may rely on the others.
func (o *outage) forgets(keep int) {
	o.t.Helper()
	o.done = o.done[len(o.done)-keep:]
	o.reached[len(o.reached)-1].done = append([]done(nil), o.done...)
	o.runs("forget", "--keep-last", fmt.Sprint(keep))
}

// advance lets the disks take in all that was recorded before the given place.
func (o *outage) advance(to int) {
	o.t.Helper()
	dirs := o.dirs()
	for ; o.at < to; o.at++ {
		r := o.record[o.at]
		for i, dir := range dirs {
			if dir == r.Dir {
				if err := o.disks[i].Apply(r.Change); err != nil {
					o.t.Fatalf("record %d: %v", o.at, err)
				}
			}
		}
	}
}

// stageAt is what had been reported when so much was recorded.
func (o *outage) stageAt(records int) stage {
	s := o.reached[0]
	for _, r := range o.reached {
		if r.records <= records {
			s = r
		}
	}
	return s
}

// cut is the machine after the power came back: what is left of the members, and of the cache.
func (o *outage) cut(t *testing.T, loss crash.Loss, rnd *rand.Rand) *mortal {
	t.Helper()
	s := o.stageAt(o.at)
	c := *o.mortal
	c.machine, c.done = newMachine(t), s.done
	c.env = append(c.env, "CAIRN_KEY_FILE="+o.path("key"))
	for i, dir := range c.dirs() {
		if err := o.disks[i].Cut(dir, loss, rnd); err != nil {
			t.Fatal(err)
		}
	}
	c.useClone(o.path("key"))
	if rnd.IntN(3) > 0 {
		copyTree(t, s.cache, c.path("home"))
		c.tear(rnd)
	}
	return &c
}

// tear does to the files below HOME what a power cut may do to files that nobody syncs, and lets the machine start anew.
func (d *mortal) tear(rnd *rand.Rand) {
	d.t.Helper()
	err := filepath.WalkDir(d.path("home"), func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		if e.Name() == "state" { // of a database: it tells by the boot id that the machine went down
			return reboot(name)
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		switch rnd.IntN(8) {
		case 0:
			return os.Remove(name)
		case 1:
			return os.Truncate(name, rnd.Int64N(info.Size()+1))
		case 2:
			return os.Truncate(name, info.Size()+4096)
		}
		return nil
	})
	if err != nil {
		d.t.Fatal(err)
	}
}

// reboot makes a database one that was being written when the machine went down.
func reboot(state string) error {
	data, err := os.ReadFile(state)
	if err != nil {
		return err
	}
	var fields map[string]any
	if err := json.Unmarshal(data, &fields); err != nil {
		return err
	}
	fields["dirty"], fields["boot"] = true, "before"
	if data, err = json.Marshal(fields); err != nil {
		return err
	}
	return os.WriteFile(state, data, 0o600)
}

// survives demands that what was reported is there, that nothing is damaged, and that the work goes on.
func (d *mortal) survives() {
	d.t.Helper()
	d.check()
	d.alive(true)
	d.ok("backup", d.tree)
	d.prune()
	d.check()
	d.clean()
	same(d.t, d.tree, d.restore("latest", d.tree))
	d.alive(true)
	d.removeAll()
}

// TestPowerCut cuts the power after changes of the disk that commands make.
// Rows E3, E7.
func TestPowerCut(t *testing.T) {
	t.Parallel()
	for _, layout := range []struct{ k, m, each int }{{1, 0, 40}, {2, 1, 120}} {
		t.Run(fmt.Sprintf("%d+%d", layout.k, layout.m), func(t *testing.T) {
			t.Parallel()
			o := newOutage(t, layout.k, layout.m)
			o.backs()
			o.backs()
			o.runs("tag", "--add", "seen", "latest~1")
			o.backs()
			o.forgets(2)
			o.runs("prune", "--max-unused", "0")
			seed := rand.Uint64()
			rnd := rand.New(rand.NewPCG(seed, 0))
			t.Logf("%d changes of the disk; seed %d", len(o.record), seed)
			each := layout.each
			if soaking() {
				each = 1
			}
			for at := rnd.IntN(each); ; at += each {
				at = min(at, len(o.record))
				o.advance(at)
				t.Run(fmt.Sprint("after ", at), func(t *testing.T) {
					for _, loss := range crash.Losses() {
						if !soaking() && loss != crash.Something && rnd.IntN(3) > 0 {
							continue
						}
						seed := rnd.Uint64()
						t.Run(fmt.Sprintf("lost %s %d", loss, seed), func(t *testing.T) {
							t.Parallel()
							o.cut(t, loss, rand.New(rand.NewPCG(seed, 0))).survives()
						})
					}
				})
				if at == len(o.record) {
					return
				}
			}
		})
	}
}
