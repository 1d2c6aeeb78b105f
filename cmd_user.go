package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"astrocyte/homeserver"
)

func userCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "user",
		Short: "Make and change accounts",
		Long:  "Make and change accounts, whether or not the server runs. NAME is alice, or @alice:example.org.",
	}
	var s settings
	s.flags(cmd.PersistentFlags())
	cmd.AddCommand(userCreateCommand(&s), userListCommand(&s), userPasswordCommand(&s), userDeactivateCommand(&s))
	return cmd
}

func userCreateCommand(s *settings) *cobra.Command {
	var admin bool
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Make an account; the password is asked for, or read from the standard input",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			password, err := askPassword(cmd)
			if err != nil {
				return err
			}
			return controlled(cmd.Context(), s, func(c *control) error {
				var user homeserver.ControlUser
				body := map[string]any{"name": args[0], "password": password, "admin": admin}
				if err := c.ask("POST", "/users", body, &user); err != nil {
					return err
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%s can log in now.\n", user.ID)
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&admin, "admin", false, "make an administrator of the server")
	return cmd
}

func userListCommand(s *settings) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the accounts",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return controlled(cmd.Context(), s, func(c *control) error { return listUsers(c, cmd.OutOrStdout()) })
		},
	}
}

func listUsers(c *control, out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	after := ""
	for {
		var page struct {
			Users []homeserver.ControlUser `json:"users"`
		}
		if err := c.ask("GET", "/users?after="+url.QueryEscape(after), nil, &page); err != nil {
			return err
		}
		if len(page.Users) == 0 {
			return w.Flush()
		}
		for _, u := range page.Users {
			fmt.Fprintf(w, "%s\t%s\t%s\n", u.ID, time.UnixMilli(u.Created).Format(time.DateOnly), strings.Join(marks(u), ", "))
			after = string(u.ID)
		}
	}
}

// marks are what is special about an account.
func marks(u homeserver.ControlUser) []string {
	var marks []string
	for _, m := range []struct {
		on   bool
		name string
	}{{u.Admin, "administrator"}, {u.Guest, "guest"}, {u.Locked, "locked"}, {u.Suspended, "suspended"}, {u.Deactivated, "deactivated"}} {
		if m.on {
			marks = append(marks, m.name)
		}
	}
	return marks
}

func userPasswordCommand(s *settings) *cobra.Command {
	return &cobra.Command{
		Use:   "password NAME",
		Short: "Give a user another password, and end their sessions",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			password, err := askPassword(cmd)
			if err != nil {
				return err
			}
			return controlled(cmd.Context(), s, func(c *control) error {
				var user homeserver.ControlUser
				if err := c.ask("POST", "/users/"+url.PathEscape(args[0])+"/password", map[string]any{"password": password}, &user); err != nil {
					return err
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%s has a new password.\n", user.ID)
				return nil
			})
		},
	}
}

func userDeactivateCommand(s *settings) *cobra.Command {
	var erase bool
	cmd := &cobra.Command{
		Use:   "deactivate NAME",
		Short: "End an account for good; its name is never given again",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return controlled(cmd.Context(), s, func(c *control) error {
				var user homeserver.ControlUser
				if err := c.ask("POST", "/users/"+url.PathEscape(args[0])+"/deactivate", map[string]any{"erase": erase}, &user); err != nil {
					return err
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%s is deactivated.\n", user.ID)
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&erase, "erase", false, "also hide the user's messages from those who join later")
	return cmd
}

// askPassword asks twice on a terminal, and otherwise reads one line.
func askPassword(cmd *cobra.Command) (string, error) {
	in, is := cmd.InOrStdin().(*os.File)
	if !is || !term.IsTerminal(int(in.Fd())) {
		line, err := bufio.NewReader(cmd.InOrStdin()).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return "", err
		}
		return strings.TrimRight(line, "\r\n"), nil
	}
	once, err := askOnce(cmd, in, "Password: ")
	if err != nil {
		return "", err
	}
	again, err := askOnce(cmd, in, "Once more: ")
	if err == nil && once != again {
		err = errors.New("the passwords are not the same")
	}
	return once, err
}

func askOnce(cmd *cobra.Command, in *os.File, prompt string) (string, error) {
	fmt.Fprint(cmd.ErrOrStderr(), prompt)
	password, err := term.ReadPassword(int(in.Fd()))
	fmt.Fprintln(cmd.ErrOrStderr())
	return string(password), err
}
