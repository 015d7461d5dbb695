// Package remote is the one seam between an archive and where it is stored: a Store keeps
// named byte objects. It knows bytes and names, nothing of chunks, keys or packs. Drivers are
// remote/local, remote/s3 and remote/mem; wrappers such as remote/retry are Stores made of Stores;
// remote/remotetest is the suite that all of them pass.
//
//	archive → remote/stripe → remote/retry → Sub → remote/local or remote/s3
//
// What a Store can do beyond the five methods is a second interface (NewPutter, BulkDeleter, Maker, Retainer, Protector, Hider, Historian), found with As
// through the wrappers. Everything here is safe for concurrent use.
//
// A crash leaves at worst what a driver documents as its own litter (remote/local: temporary files);
// List never shows it and no Get can read it.
package remote

import (
	"context"
	"io/fs"
	"iter"
	"time"
)

// ErrNotExist means that the object is not there, for certain: the store answered and said so.
// A store that cannot be reached, refuses access or times out returns another error.
var ErrNotExist = fs.ErrNotExist

// Info describes one object.
type Info struct {
	Name     string
	Size     int64     // bytes
	Modified time.Time // by the store's clock; never used to decide about deletion
}

// Store keeps named byte objects. Names are slash-separated, relative, of printable ASCII, without empty,
// "." or ".." elements (ValidName); other names are refused with an error that wraps fs.ErrInvalid. No name
// may be a directory of another: a store that keeps "a" need not be able to keep "a/b". All methods may be
// called concurrently. A context that is done ends a call with the context's error.
//
// A Store does not check content: what is read is verified by whoever knows what it must be.
type Store interface {
	// Put stores data under name and returns when it is durable: it survives a power cut. It is atomic: readers
	// see the old object, or no object, or the whole new one, also after a crash. An existing object is replaced.
	// data is not changed and not kept. After an error the object may be the old or the new one.
	Put(ctx context.Context, name string, data []byte) error

	// Get reads a range and returns it in dst[:0] if its capacity is enough, in a new slice otherwise.
	//   off >= 0, n >= 0: exactly n bytes from off
	//   off >= 0, n < 0:  from off to the end
	//   off < 0:          the last -off bytes (all, if the object is shorter); n is ignored
	// A range that ends behind the object is an error that wraps io.ErrUnexpectedEOF (with off > size also for n < 0);
	// a missing object is ErrNotExist. Never a partial result without an error. A driver whose connection breaks
	// while it reads returns another error than io.ErrUnexpectedEOF, because that one is not tried again.
	Get(ctx context.Context, name string, off, n int64, dst []byte) ([]byte, error)

	// Stat returns the size and time of an object, or ErrNotExist.
	Stat(ctx context.Context, name string) (Info, error)

	// List yields the objects whose names begin with prefix, which is empty or ends with "/", recursively, each once,
	// in no particular order. Objects put or deleted meanwhile may or may not be seen; all others are. A prefix
	// without objects yields nothing. After an error the sequence ends, and what was yielded is incomplete.
	// What has no valid name (another program's files, say) is not listed. Other methods may be called meanwhile.
	List(ctx context.Context, prefix string) iter.Seq2[Info, error]

	// Delete removes an object durably. Deleting what is not there is not an error.
	Delete(ctx context.Context, name string) error
}
