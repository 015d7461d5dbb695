package source

import (
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A named pipe that nobody writes to holds nobody up.
func TestReadPipe(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "pipe.yaml")
	if err := unix.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := ReadFile(name, ParseOptions{})
		done <- err
	}()
	select {
	case err := <-done:
		if err == nil {
			t.Error("an empty pipe is no source")
		}
	case <-time.After(5 * time.Second):
		t.Fatal("it waits")
	}
}
