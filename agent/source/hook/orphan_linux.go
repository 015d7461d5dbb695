package hook

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"cairn/agent/process"
)

// Mark names a living process such that no later one can be taken for it: its number, when it began, and since which start of the machine.
// It is "" when the process is gone.
func Mark(pid int) string {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return ""
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	// The name in parentheses may hold anything. Behind it come the state and, as the 20th, the begin.
	f := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(f) < 20 || f[0] == "Z" || f[0] == "X" {
		return ""
	}
	return fmt.Sprintf("%d %s %s", pid, f[19], bytes.TrimSpace(boot))
}

// Await waits until the program of a hook has ended that a run left behind when it was killed: a stop script that comes to its end after the
// application was started again stops it for good. If it is not done within limit, it is ended with its group. wait (may be nil) is
// called once if there is somebody to wait for.
func Await(ctx context.Context, mark string, limit time.Duration, wait func(pid int)) error {
	number, _, _ := strings.Cut(mark, " ")
	pid, err := strconv.Atoi(number)
	if err != nil || pid <= 1 {
		return nil // there was none
	}
	deadline := time.Now().Add(limit)
	told, asked := false, false
	for Mark(pid) == mark {
		if !told && wait != nil {
			wait(pid)
		}
		told = true
		switch late := time.Since(deadline); {
		case late > process.Grace:
			_ = syscall.Kill(-pid, syscall.SIGKILL) // it may be gone
		case late > 0 && !asked:
			_ = syscall.Kill(-pid, syscall.SIGTERM)
			asked = true
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(50 * time.Millisecond):
		}
	}
	return nil
}
