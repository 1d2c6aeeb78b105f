// Astrocyte is a Matrix homeserver. This file and the cmd_*.go files beside it are its command line; the
// server itself begins in package homeserver.
package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
)

func main() {
	if err := rootCommand().Execute(); err != nil {
		fmt.Fprintln(os.Stderr, "astrocyte:", err)
		os.Exit(1)
	}
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "astrocyte",
		Short:         "A Matrix homeserver",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(serveCommand(), userCommand(), tokenCommand(), mediaCommand(), searchCommand(), roomCommand(), configCommand(), sampleConfigCommand(), chatCommand(), versionCommand())
	return root
}
