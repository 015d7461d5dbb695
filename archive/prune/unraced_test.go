//go:build !race

package prune

// Raced says that the race detector makes everything ten times slower.
const Raced = false
