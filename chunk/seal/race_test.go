//go:build race

package seal

// raceEnabled: under the race detector sync.Pool drops objects at random, so allocations cannot be counted.
const raceEnabled = true
