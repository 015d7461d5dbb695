package seal

import (
	"time"

	"golang.org/x/sys/unix"

	"cairn/chunk"
)

const (
	// argonTime is how long a password is to take on the machine where its slot is made: long enough to cost who guesses, and short enough to
	// be paid by every command.
	argonTime = 150 * time.Millisecond
	// argonMostPasses bounds what a slower machine has to pay: four times the floor, a second of one such core.
	argonMostPasses = 12
)

// TunedArgon measures this machine and returns what takes it about 150 ms, and never less than DefaultArgon, which is the floor for new slots:
// a slow machine waits longer. What is made stronger is the number of passes. The memory stays at 64 MiB, because every command that opens the archive
// needs it, on all machines, and because its first touch (16,384 page faults) is a sixth of the time already.
//
// The floor takes 0.16 to 0.22 s of one core, and 0.03 s more with fresh memory: about 0.12 s on two that have nothing else to do.
func TunedArgon() ArgonParams {
	p := DefaultArgon()
	before := processorTime()
	stretch([]byte("measured"), make([]byte, saltSize), p)
	return tuned(p, processorTime()-before, chunk.Cores())
}

// tuned adds passes to the floor, whose processor time is known, as far as they fit. The lanes run beside each other on the cores that there are; that
// others may have been using them does not make a slot weaker.
func tuned(floor ArgonParams, took time.Duration, cores int) ArgonParams {
	took /= time.Duration(max(1, min(cores, int(floor.Lanes))))
	pass := took / time.Duration(floor.Time)
	if pass <= 0 { // no clock: nothing is known
		return floor
	}
	if more := (argonTime - took) / pass; more > 0 {
		floor.Time = min(floor.Time+uint32(min(more, argonMostPasses)), argonMostPasses)
	}
	return floor
}

// processorTime is what this process has used so far, however busy the machine is.
func processorTime() time.Duration {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
