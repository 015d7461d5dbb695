package seal

import (
	"os"
	"runtime"

	"golang.org/x/crypto/argon2"
)

// stretch derives a key from a password with Argon2id (RFC 9106). p is valid. It uses p.MemoryKiB of memory, which is garbage afterwards.
func stretch(password, salt []byte, p ArgonParams) [32]byte {
	touch(int(p.MemoryKiB) << 10)
	runtime.GC() // 1 to 2 ms: little lives when an archive is opened
	return [32]byte(argon2.IDKey(password, salt, p.Time, p.MemoryKiB, p.Lanes, 32))
}

// touch writes to each page of so much memory. What it leaves is collected, and the runtime gives Argon2 the same pages a moment later.
// Argon2 reads each block before it writes to it. Of fresh memory that is two page faults instead of one, and the second takes away the mapping that the
// first has made, for which the kernel interrupts all cores on which lanes run: 0.28 s in all on two virtual cores, of which 0.12 are Argon2.
// This way it is 0.12 s. If the runtime chose other pages it would cost 25 ms and, for that long, as much memory again.
func touch(size int) {
	b := make([]byte, size)
	for i := 0; i < len(b); i += os.Getpagesize() {
		b[i] = 1
	}
}
