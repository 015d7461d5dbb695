package servers

import (
	"crypto/rand"
	"fmt"
	"net"
	"testing"
)

// Port finds a port on loopback that nobody listens on and that no other test on this machine is given before release is called. It lies outside of the
// range from which the kernel gives ports to connections (32768 and up, by default), because an address must be free again when its
// server comes back.
//
// A server takes its port only some time after it was started, and another one may be looking for a port meanwhile, in this process or in
// that of another package. With fifty servers of 22,000 ports two would be the same in one run of twenty. So each port is claimed by a
// name among the abstract Unix sockets, which ends with its process and leaves no file.
func Port() (port int, release func(), err error) {
	for range 100 {
		var b [2]byte
		_, _ = rand.Read(b[:]) // never fails
		port = 10000 + (int(b[0])<<8|int(b[1]))%22000
		var claim, l net.Listener
		if claim, err = net.Listen("unix", fmt.Sprintf("@cairn-test-port-%d", port)); err != nil {
			continue
		}
		if l, err = net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			_ = l.Close() // it served to see that nobody else listens
			return port, func() { _ = claim.Close() }, nil
		}
		_ = claim.Close()
	}
	return 0, nil, fmt.Errorf("find a free port: %w", err)
}

// address is a port for the time of a test.
func address(t testing.TB) string {
	t.Helper()
	port, release, err := Port()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(release)
	return fmt.Sprintf("127.0.0.1:%d", port)
}
