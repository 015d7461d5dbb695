// Package prune is the collector: it finds what no snapshot needs, condemns it, and deletes it, while others back up, restore and
// prune at the same time. See Collection for the protocol, and docs/design.md for the argument.
package prune
