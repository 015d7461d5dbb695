//go:build !faults

package main

import (
	"time"

	"cairn/remote"
	"cairn/remote/local"
)

// faults is what tests do to the program. In the one that is shipped this is nothing; `go build -tags faults` makes the other one
// (faults.go).
type faults struct{}

func newFaults(func(string) string) faults { return faults{} }

func (faults) now() time.Time { return time.Now() }

func (faults) directory(string) local.Options { return local.Options{} }

func (faults) watch(s remote.Store, _ remote.URL) remote.Store { return s }
