// Command cairn backs up, restores and checks. One file holds one command; what they share is in env.go (the
// world outside), open.go (from flags to an open archive), args.go (flags before and after arguments) and
// exit.go (from errors to exit codes). There is no archive logic here.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	go func() { // a second signal ends the program at once
		<-ctx.Done()
		stop()
	}()
	oneArena()
	e := processEnv()
	if os.Getenv("GOGC") == "" {
		e.collecting = new(collecting)
		e.collecting.start(10)
	}
	os.Exit(run(ctx, os.Args, e))
}

// processEnv is the world of a real run.
func processEnv() *env {
	f := newFaults(os.Getenv)
	return &env{
		stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr,
		getenv: os.Getenv, now: f.now,
		terminal: isTerminal(os.Stderr),
		faults:   f,
		overlap:  os.Getenv("GOMAXPROCS") == "",
	}
}

// run is main without the process: it returns the exit code.
func run(ctx context.Context, args []string, e *env) int {
	defer profile(e.getenv("CAIRN_PROFILE"))()
	ctx, stop := context.WithCancel(ctx)
	defer e.tasks.Wait()
	defer stop()
	app := newApp(e)
	err := app.RunContext(ctx, reorder(app, args))
	return e.exit(ctx, err)
}
