//go:build !cgo

package seal

func newCompressor() (compressor, error) { return newGoCompressor() }
