//go:build race

package prune_test

// raced says that the race detector makes everything ten times slower. The model has no goroutines.
const raced = true
