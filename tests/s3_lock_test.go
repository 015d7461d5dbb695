package tests

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"cairn/remote"
	"cairn/remote/remotetest"
	"cairn/remote/retry"
	"cairn/tests/servers"
)

// protect runs the suite of stores that keep versions and lock objects, and that of all stores, in one bucket that does.
func protect(t *testing.T, kind servers.Kind) {
	s := servers.StartWith(t, 1, servers.Options{Kind: kind, Lock: true})[0]
	next := prefixes()
	remotetest.RunProtected(t, func(t *testing.T) remotetest.Protected {
		prefix := next()
		store := retry.New(bucket(t, s, s.URL(), prefix), retry.Options{Base: 10 * time.Millisecond})
		return remotetest.Protected{Store: store, Hide: func(ctx context.Context, name string) error {
			return s.Client().Client.RemoveObject(ctx, servers.Bucket, prefix+"/"+name, minio.RemoveObjectOptions{})
		}}
	})
	remotetest.Run(t, func(t *testing.T) remote.Store {
		return retry.New(bucket(t, s, s.URL(), next()), retry.Options{Base: 10 * time.Millisecond})
	})
}

// TestS3Lock: versions, locks and views of earlier times at a real server.
func TestS3Lock(t *testing.T) {
	t.Parallel()
	protect(t, servers.Versity)
}

// TestSoakS3LockMinIO: the same at another server. Its build takes minutes.
func TestSoakS3LockMinIO(t *testing.T) {
	if os.Getenv("CAIRN_SOAK") == "" {
		t.Skip("CAIRN_SOAK is not set: building MinIO takes minutes")
	}
	t.Parallel()
	protect(t, servers.MinIO)
}
