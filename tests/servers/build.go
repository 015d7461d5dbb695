package servers

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Kind is a server implementation.
type Kind int

// The kinds.
const (
	Versity Kind = iota // versitygw over a directory: an object is a file, which tests may damage
	MinIO               // the community MinIO server; its build takes several minutes, so only long tests use it
)

func (k Kind) String() string { return [...]string{"versitygw", "minio"}[k] }

// module is the nested module, relative to the top of ours, that pins the server.
func (k Kind) module() string { return [...]string{"tests/s3", "tests/s3/minio"}[k] }

var builds = [...]func() (string, error){
	Versity: sync.OnceValues(Versity.build),
	MinIO:   sync.OnceValues(MinIO.build),
}

// build returns the server's program out of the Go build cache.
func (k Kind) build() (string, error) {
	top, err := top()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(top, k.module())
	for _, name := range []string{"go.mod", "go.sum"} { // go test notes them, and runs the tests again when they change
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return "", err
		}
	}
	// Test processes run side by side. Two builds at once would compile everything twice, so each takes its turn. The lock is
	// on the directory because the go command itself locks go.mod.
	lock, err := os.Open(dir)
	if err != nil {
		return "", err
	}
	defer lock.Close() //nolint:errcheck // nothing is written
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return "", fmt.Errorf("lock %s: %w", dir, err)
	}
	c := exec.Command("go", "tool", "-n", k.String()) // builds it and says where it is
	c.Dir = dir
	c.Env = append(os.Environ(), "GOFLAGS=-buildvcs=false", "GOWORK=off")
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil {
		return "", fmt.Errorf("build %s in %s: %w\n%s", k, dir, err, &stderr)
	}
	return strings.TrimSpace(string(out)), nil
}

// top is the directory of our go.mod: tests run in the directory of their package.
func top() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; ; dir = filepath.Dir(dir) {
		mod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && strings.HasPrefix(string(mod), "module cairn\n") {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("go.mod of module cairn is not above the working directory")
		}
	}
}
