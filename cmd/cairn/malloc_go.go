//go:build !cgo

package main

func oneArena() {}
