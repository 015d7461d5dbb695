package main

import "github.com/urfave/cli/v2"

// commands lists all commands in the order of the help.
func commands(e *env) []*cli.Command {
	return []*cli.Command{
		initCommand(e),
		backupCommand(e),
		snapshotsCommand(e),
		restoreCommand(e),
		lsCommand(e),
		findCommand(e),
		diffCommand(e),
		dumpCommand(e),
		exportCommand(e),
		statsCommand(e),
		statusCommand(e),
		tagCommand(e),
		sourceCommand(e),
		serveCommand(e),
		forgetCommand(e),
		pruneCommand(e),
		copyCommand(e),
		replicateCommand(e),
		rewriteCommand(e),
		checkCommand(e),
		verifyCommand(e),
		inspectCommand(e),
		repairCommand(e),
		memberCommand(e),
		keyCommand(e),
		indexCommand(e),
		benchCommand(e),
		completionCommand(e),
		versionCommand(e),
	}
}
