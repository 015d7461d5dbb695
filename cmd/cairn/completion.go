package main

import (
	"fmt"

	"github.com/urfave/cli/v2"
)

func completionCommand(e *env) *cli.Command {
	return command(e, &cli.Command{
		Name: "completion", Usage: "print a shell completion script", ArgsUsage: "bash|zsh|fish",
		Description: `Prints a script that completes commands and flags. Load it where your shell looks for completions.

Examples:
  cairn completion bash >/etc/bash_completion.d/cairn
  cairn completion zsh >"${fpath[1]}/_cairn"
  cairn completion fish >~/.config/fish/completions/cairn.fish`,
		Action: func(c *cli.Context) error {
			switch c.Args().First() {
			case "bash":
				fmt.Fprint(e.stdout, bashCompletion)
			case "zsh":
				fmt.Fprint(e.stdout, zshCompletion)
			case "fish":
				text, err := c.App.ToFishCompletion()
				if err != nil {
					return err
				}
				fmt.Fprint(e.stdout, text)
			default:
				return usage("completion: name a shell: bash, zsh or fish")
			}
			return nil
		},
	})
}

// Both scripts ask the program itself: every command answers --generate-bash-completion.
const bashCompletion = `_cairn() {
  local cur="${COMP_WORDS[COMP_CWORD]}" words
  COMPREPLY=()
  if [[ "$cur" == -* ]]; then
    words=$("${COMP_WORDS[@]:0:COMP_CWORD}" "$cur" --generate-bash-completion 2>/dev/null)
  else
    words=$("${COMP_WORDS[@]:0:COMP_CWORD}" --generate-bash-completion 2>/dev/null)
  fi
  while IFS= read -r w; do COMPREPLY+=("$w"); done < <(compgen -W "$words" -- "$cur")
}
complete -o bashdefault -o default -F _cairn cairn
`

const zshCompletion = `#compdef cairn
_cairn() {
  local -a words_found
  local cur=${words[CURRENT]}
  if [[ "$cur" == -* ]]; then
    words_found=("${(@f)$(${words[1,CURRENT-1]} $cur --generate-bash-completion 2>/dev/null)}")
  else
    words_found=("${(@f)$(${words[1,CURRENT-1]} --generate-bash-completion 2>/dev/null)}")
  fi
  if [[ -n "${words_found[1]}" ]]; then
    compadd -a words_found
  else
    _files
  fi
}
_cairn "$@"
`
