package prune_test

import (
	"os"
	"testing"
)

// soaking says whether there is time for what takes minutes (make soak).
func soaking() bool { return os.Getenv("CAIRN_SOAK") != "" }

func TestModelHolds(t *testing.T) {
	t.Parallel()
	for name, p := range map[string]protocol{
		"1 client 1 gc":  {clients: 1, collectors: 1, copies: 1, repack: true, fine: true},
		"2 clients 1 gc": {clients: 2, collectors: 1, copies: 1, repack: true, fine: true},
		"1 client 2 gcs": {clients: 1, collectors: 2, copies: 1, repack: true, fine: true},
		"2 copies":       {clients: 1, collectors: 2, copies: 3, repack: true},
		"forget":         {clients: 1, collectors: 2, copies: 1, repack: true, forget: true},
		"tag":            {clients: 1, replace: 1, collectors: 2, copies: 3, repack: true, windows: true},
		"tag 1":          {clients: 1, replace: 1, collectors: 1, copies: 3, repack: true, windows: true},
		"tag and backup": {clients: 2, replace: 1, collectors: 1, copies: 3, repack: true, windows: true},
		"two tags":       {clients: 2, replace: 2, collectors: 1, copies: 3, repack: true, windows: true},
		"tag and forget": {clients: 1, replace: 1, collectors: 1, copies: 3, repack: true, windows: true, forget: true},
		"members":        {members: 2, clients: 1, collectors: 1, copies: 1, repack: true},
		"members 2":      {members: 2, clients: 2, collectors: 1, copies: 1, repack: true},
	} {
		t.Run(name, func(t *testing.T) { holds(t, p) })
	}
}

func TestModelBites(t *testing.T) {
	t.Parallel()
	for name, p := range map[string]protocol{
		"blind":      {clients: 1, collectors: 1, copies: 1, blind: true},
		"noRelist":   {clients: 1, collectors: 1, copies: 1, noRelist: true},
		"once":       {clients: 1, collectors: 2, copies: 1, once: true},
		"oneMember":  {members: 2, clients: 1, collectors: 1, copies: 1, oneMember: true},
		"unnameAll":  {clients: 1, collectors: 2, copies: 1, fine: true, unnameAll: true},
		"silent":     {clients: 0, collectors: 2, copies: 1, replace: 1, repack: true, silent: true},
		"trusting":   {clients: 1, replace: 1, collectors: 1, copies: 1, windows: true, forget: true, trusting: true},
		"hasty":      {clients: 2, collectors: 2, copies: 1, hasty: true},
		"blind tag":  {clients: 1, replace: 1, collectors: 2, copies: 3, windows: true, blind: true},
		"indexFirst": {clients: 1, collectors: 1, copies: 1, indexFirst: true},
	} {
		t.Run(name, func(t *testing.T) { fails(t, p) })
	}
}
