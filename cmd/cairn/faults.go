//go:build faults

package main

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"cairn/remote"
	"cairn/remote/fault"
	"cairn/remote/local"
)

// faults is what tests do to the program when it is built with -tags faults. CAIRN_FAULTS says what, as a query:
//
//	do=kill|stop     SIGKILL or SIGSTOP to itself
//	at=17            at the 17th store operation of the process, over all members
//	when=before|half|after      it is not done; a Put has left half a temporary file; it is done and nobody knows
//	ops=any|write    what counts: all operations, or what changes a store
//	log=FILE         a line for each operation that counts is appended: its kind and its name
//	record=FILE      a line of JSON for each change of the disk that a directory makes, in the order in which they are made
//	clock=8760h      the clock is wrong by so much
//
// A mistake in it panics, so that no test passes because nothing happened.
type faults struct {
	trap   *fault.Trap
	record *os.File
	skew   time.Duration
	mu     *sync.Mutex
}

func newFaults(getenv func(string) string) faults {
	q, err := url.ParseQuery(getenv("CAIRN_FAULTS"))
	must(err)
	f := faults{trap: &fault.Trap{}, mu: new(sync.Mutex)}
	for key := range q {
		must(f.set(key, q.Get(key)))
	}
	return f
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func (f *faults) set(key, value string) (err error) {
	known := true
	switch key {
	case "do":
		var signal syscall.Signal
		signal, known = map[string]syscall.Signal{"kill": syscall.SIGKILL, "stop": syscall.SIGSTOP}[value]
		f.trap.Once = signal == syscall.SIGSTOP
		f.trap.Spring = func() {
			must(syscall.Kill(os.Getpid(), signal))
			if signal == syscall.SIGKILL {
				select {} // the signal may reach another thread first
			}
		}
	case "at":
		f.trap.At, err = strconv.Atoi(value)
	case "when":
		f.trap.When, known = map[string]fault.When{"before": fault.Before, "half": fault.Half, "after": fault.After}[value]
	case "ops":
		f.trap.Ops, known = map[string]fault.Op{"any": fault.Any, "write": fault.Write}[value]
	case "log":
		var file *os.File
		file, err = os.OpenFile(value, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		kinds := map[fault.Op]string{fault.Put: "put", fault.Get: "get", fault.Stat: "stat", fault.List: "list", fault.Delete: "delete"}
		f.trap.Seen = func(op fault.Op, name string) {
			_, err := fmt.Fprintln(file, kinds[op], name)
			must(err)
		}
	case "record":
		f.record, err = os.OpenFile(value, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	case "clock":
		f.skew, err = time.ParseDuration(value)
	default:
		known = false
	}
	if !known {
		return fmt.Errorf("CAIRN_FAULTS: %s=%s is not known", key, value)
	}
	return err
}

func (f faults) now() time.Time { return time.Now().Add(f.skew) }

func (f faults) directory(dir string) local.Options {
	o := local.Options{Now: f.now}
	if f.record != nil {
		o.Around = func(c local.Change, do func() error) error { return f.note(recorded{dir, c}, do) }
	}
	return o
}

// recorded is a line of the record.
type recorded struct {
	Dir string `json:"dir"` // of the member
	local.Change
}

// note makes one change at a time, so that the record is in the order in which they were made.
func (f faults) note(c recorded, do func() error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := do(); err != nil {
		return err
	}
	line, err := json.Marshal(c)
	must(err)
	_, err = f.record.Write(append(line, '\n'))
	must(err)
	return nil
}

// watch puts a member under the trap.
func (f faults) watch(s remote.Store, u remote.URL) remote.Store {
	if u.Scheme != "file" {
		return f.trap.Watch(s, nil)
	}
	return f.trap.Watch(s, func(name string, data []byte) {
		name = filepath.Join(u.Path, name)
		must(os.MkdirAll(filepath.Dir(name), 0o700))
		litter := remote.TempPrefix + strings.ToUpper(filepath.Base(name)) // as long as those of remote/local at least
		must(os.WriteFile(filepath.Join(filepath.Dir(name), litter), data[:len(data)/2], 0o600))
	})
}
