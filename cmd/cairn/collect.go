package main

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"
)

// collecting decides how much garbage may pile up before the collector runs: a part of what lives, but at least headroom. What lives in a backup or a
// check is mostly a few large buffers without pointers, which cost nothing to mark and are used again, so that 10 % of them are enough. Of
// the little that lives while 68,000 unchanged files are looked through, 10 % would be 1 or 2 MB and collecting a sixth of the processor time.
type collecting struct{ percent atomic.Int64 }

const headroom = 10 << 20

// start takes the policy over from the runtime. Percent can be changed later.
func (c *collecting) start(percent int64) {
	c.percent.Store(percent)
	c.adjust()
	c.again()
}

// again sees to it that adjust is called after the next collection, which is when an object that nobody has is found.
func (c *collecting) again() {
	runtime.SetFinalizer(&struct{ size [64]byte }{}, func(*struct{ size [64]byte }) {
		c.adjust()
		c.again()
	})
}

func (c *collecting) adjust() {
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	percent := c.percent.Load()
	if v := live[0].Value; v.Kind() == metrics.KindUint64 && v.Uint64() > 0 {
		percent = max(percent, min(400, int64(headroom*100/v.Uint64())))
	}
	debug.SetGCPercent(int(percent))
}
