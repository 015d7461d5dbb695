package chunk

import (
	"runtime"
	"sync"
)

// Cores is how many goroutines can compute at once: as many as there are processors, or fewer by the process's affinity, the limit of its control group
// or $GOMAXPROCS. Who divides work or bounds memory by the number of cores asks here, and not runtime.GOMAXPROCS: a program whose goroutines
// wait for disks may raise that, and then the first answer still holds.
func Cores() int { return cores() }

var cores = sync.OnceValue(func() int { return runtime.GOMAXPROCS(0) })
