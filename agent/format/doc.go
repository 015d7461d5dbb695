// Package format is what the verifications of all formats stand on: the run with its report, workers that hash, a walk that follows
// nothing, and a set of names in bounded memory. Package agent/verify is the way in, and says what holds for all of them.
package format
