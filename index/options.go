package index

import "os"

const (
	// slots is how many processes on one machine may each have an index of the same archive.
	slots = 16
	// memTable and tableSize are the sizes of Badger's write buffers and tables. They bound the heap: 3 buffers (one being
	// filled, two being flushed) take 2.6 MiB each; tables are built in arenas of 2 MiB (6 MiB for those that a buffer is
	// flushed to), of which Badger keeps 8 and uses up to some 25 in two compactions at once. A transaction may take 15 % of
	// a buffer, 307 KiB. Measured while 5 million blobs are loaded: 88 MB of live heap; 108 MB with tables of 1.5 MiB,
	// over 120 MB with buffers of 8 and tables of 2 MiB, none of them faster.
	memTable  = 2 << 20
	tableSize = 1 << 20
	// reserve covers what Badger may write between two looks at the free space: log and table of 3 buffers and the
	// output of compactions under way.
	reserve = 128 << 20
	// filesLimit is where a stat cache is thrown away instead of kept: entries of directories that are long gone are
	// never deleted from it. 4 GiB hold about 30 million files.
	filesLimit = 4 << 30
	// uncleanLimit is how often in a row a database may be left without being closed before it is distrusted: damage
	// that makes Badger's own goroutines panic cannot be caught, only noticed by the next process.
	uncleanLimit = 5
)

// Options of Open and OpenFiles. The zero value works.
type Options struct {
	// MemTable is the size of Badger's write buffers in bytes, at least 2 MiB; 0 means 2 MiB.
	MemTable int64
	// Reserve is how much of the file system must stay free; 0 means 128 MiB. See ErrNoSpace.
	Reserve int64
	// Limit is the size from which a stat cache is thrown away when it is opened; 0 means 4 GiB.
	Limit int64
	// Notice, if set, is told in one line what was found broken and made anew.
	Notice func(string)

	boot   string       // boot id, for tests
	writes func() error // for tests: asked before each write, which is then committed by itself
}

func (o Options) applyDefaults() Options {
	o.MemTable = max(o.MemTable, memTable)
	if o.Reserve == 0 {
		o.Reserve = reserve
	}
	if o.Limit == 0 {
		o.Limit = filesLimit
	}
	if o.Notice == nil {
		o.Notice = func(string) {}
	}
	if o.boot == "" {
		o.boot = bootID()
	}
	return o
}

// bootID changes with every start of the machine. Where the kernel does not tell, it is empty, and a database that was
// being written when its process ended is never trusted.
func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil || len(b) > 64 {
		return ""
	}
	return string(b)
}
