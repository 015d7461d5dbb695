package databases

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cairn/agent/source"
	"cairn/agent/source/driver"
)

// total is what the accounts of two tables have together, always: a dump that is not of one moment shows another sum.
const total = "20000"

// writer moves money between two tables until the test ends, each time in one transaction.
type writer struct {
	done    atomic.Int64
	slowest atomic.Int64 // time of a transaction, in ns
	stop    func() error
}

func startWriter(t *testing.T, run func(ctx context.Context, database, sql string) (string, error), database, debit, credit string) *writer {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	w := &writer{}
	ended := make(chan error, 1)
	go func() {
		for i := 0; ctx.Err() == nil; i++ {
			begin := time.Now()
			// Accounts at both ends of the tables, so that a dump that reads them one after the other would see half a transfer.
			sql := fmt.Sprintf("BEGIN; UPDATE %s SET balance = balance - 1 WHERE id = %d; UPDATE %s SET balance = balance + 1 WHERE id = %d; COMMIT;",
				debit, i%100+1, credit, 100-i%100)
			if _, err := run(context.WithoutCancel(ctx), database, sql); err != nil {
				ended <- err
				return
			}
			w.slowest.Store(max(w.slowest.Load(), int64(time.Since(begin))))
			w.done.Add(1)
		}
		ended <- nil
	}()
	w.stop = sync.OnceValue(func() error { cancel(); return <-ended })
	t.Cleanup(func() {
		if err := w.stop(); err != nil {
			t.Errorf("writer: %v", err)
		}
	})
	return w
}

// progress waits until n more transactions are through.
func (w *writer) progress(t *testing.T, n int64) {
	t.Helper()
	begin := w.done.Load()
	for end := time.Now().Add(patience); w.done.Load() < begin+n; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the writer made %d of %d transactions in %v", w.done.Load()-begin, n, patience)
		}
	}
}

// rows are SQL values of the accounts 1 to 100 with 100 each.
func rows() string {
	var b bytes.Buffer
	for i := 1; i <= 100; i++ {
		fmt.Fprintf(&b, "(%d, 100),", i)
	}
	return string(bytes.TrimSuffix(b.Bytes(), []byte(",")))
}

func streams(t *testing.T, p source.Part) *driver.Set {
	t.Helper()
	set, err := driver.Streams(t.Context(), p, driver.Options{TempDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func named(t *testing.T, set *driver.Set, file string) driver.Stream {
	t.Helper()
	for _, s := range set.Streams {
		if s.File == file {
			return s
		}
	}
	t.Fatalf("no stream %s in %+v", file, set.Streams)
	return driver.Stream{}
}

// dumped reads a stream to its end; meanwhile, called when it has begun, may be nil.
func dumped(t *testing.T, s driver.Stream, meanwhile func()) []byte {
	t.Helper()
	src, wait, err := s.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	_, err = io.CopyN(&b, src, 1000)
	if err == nil && meanwhile != nil {
		meanwhile()
	}
	if err == nil || errors.Is(err, io.EOF) {
		_, err = io.Copy(&b, src)
	}
	if err := errors.Join(err, wait()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func restore(t *testing.T, j driver.Job, dump []byte) *driver.Result {
	t.Helper()
	r, err := driver.Restore(t.Context(), j, bytes.NewReader(dump), driver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// refuse restores what is not to be restored.
func refuse(t *testing.T, j driver.Job, src io.Reader) error {
	t.Helper()
	r, err := driver.Restore(t.Context(), j, src, driver.Options{})
	if err == nil {
		t.Fatalf("restored: %+v", r)
	}
	return err
}

var errBroken = errors.New("the archive is damaged here")

// broken is the first half of a stream whose source then fails.
func broken(dump []byte) io.Reader {
	return io.MultiReader(bytes.NewReader(dump[:len(dump)/2]), failing{})
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errBroken }

// half ends in the middle as if that were the end.
func half(dump []byte) io.Reader { return bytes.NewReader(dump[:len(dump)/2]) }

// dead begins to read a stream, does what makes its server or its program go, and expects an error.
func dead(t *testing.T, s driver.Stream, kill func(cancel context.CancelFunc)) error {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	src, wait, err := s.Open(ctx)
	if err != nil {
		return err
	}
	if _, err := io.CopyN(io.Discard, src, 1000); err != nil {
		return errors.Join(err, wait())
	}
	kill(cancel)
	_, readErr := io.Copy(io.Discard, src)
	if err = wait(); err == nil {
		t.Fatalf("a dump whose server or program went in the middle was believed (read: %v)", readErr)
	}
	return err
}
