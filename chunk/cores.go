package chunk

import "runtime"

// cores is what the runtime found before anybody changed it.
var cores = runtime.GOMAXPROCS(0)

// Cores is how many goroutines can compute at once: as many as there are processors, or fewer by the process's affinity, the limit of its control group
// or $GOMAXPROCS. Who divides work or bounds memory by the number of cores asks here, and not runtime.GOMAXPROCS: a program whose goroutines
// wait for disks may have raised that.
func Cores() int { return cores }
