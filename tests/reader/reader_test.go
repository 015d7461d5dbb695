// Package reader is the independent reader, in Python. Its own tests run as a part of `go test ./...`.
package reader

import (
	"os/exec"
	"strings"
	"testing"
)

// python is Debian's: the packages that the reader needs are installed for it.
const python = "/usr/bin/python3"

func TestReader(t *testing.T) {
	t.Parallel()
	needPython(t)
	out, err := exec.Command(python, "test_reader.py").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if !strings.Contains(string(out), "\nOK") {
		t.Errorf("test_reader.py did not say OK:\n%s", out)
	}
}

func needPython(t *testing.T) {
	t.Helper()
	out, err := exec.Command(python, "-c", "import argon2, cbor2, cryptography, zstandard").CombinedOutput()
	if err != nil {
		t.Skipf("the reader needs python3-argon2, -cbor2, -cryptography, -zstandard (`make test` as root installs them): %v %s", err, out)
	}
}
