package main

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"sync"
	"time"
)

// profile writes a CPU profile, and a heap profile of the moment when most was in use, into the directory that
// CAIRN_PROFILE names (docs/performance.md). It returns what ends it.
func profile(dir string) (stop func()) {
	if dir == "" {
		return func() {}
	}
	cpu, err := os.Create(filepath.Join(dir, "cpu.pprof"))
	if err != nil || pprof.StartCPUProfile(cpu) != nil {
		return func() {}
	}
	done := make(chan struct{})
	var wg sync.WaitGroup
	var heap bytes.Buffer
	wg.Go(func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		var most uint64
		for {
			select {
			case <-done:
				return
			case <-tick.C:
			}
			var m runtime.MemStats
			if runtime.ReadMemStats(&m); m.HeapInuse > most+most/20 {
				most = m.HeapInuse
				heap.Reset()
				_ = pprof.Lookup("heap").WriteTo(&heap, 0)
			}
		}
	})
	return func() {
		pprof.StopCPUProfile()
		cpu.Close()
		close(done)
		wg.Wait()
		_ = os.WriteFile(filepath.Join(dir, "heap.pprof"), heap.Bytes(), 0o600)
	}
}
