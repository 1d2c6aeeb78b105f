package main

import (
	_ "embed"
	"fmt"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"astrocyte/config"
)

//go:embed config.sample.yaml
var sampleConfig string

func configCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "config", Short: "Look at a configuration file"}
	var file string
	check := &cobra.Command{
		Use:   "check",
		Short: "Tell everything that is wrong with a configuration file",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, err := config.Load(file); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s is fine.\n", file)
			return nil
		},
	}
	check.Flags().StringVarP(&file, "config", "c", "astrocyte.yaml", "the configuration file")
	cmd.AddCommand(check)
	return cmd
}

func sampleConfigCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "sample-config",
		Short: "Print a configuration file with all settings and what they mean",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprint(cmd.OutOrStdout(), sampleConfig)
			return err
		},
	}
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), "astrocyte", versionText())
			return err
		},
	}
}

// versionText is the tag of a release, and otherwise the commit that was built.
func versionText() string {
	build, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	text := build.Main.Version
	if strings.HasPrefix(text, "v") && !strings.Contains(text, "-0.") {
		return text
	}
	text = "development"
	for _, s := range build.Settings {
		if s.Key == "vcs.revision" {
			text += " " + s.Value[:min(12, len(s.Value))]
		}
	}
	return text
}
