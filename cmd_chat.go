package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"astrocyte/chat"
)

func chatCommand() *cobra.Command {
	var o chatOptions
	cmd := &cobra.Command{
		Use:   "chat",
		Short: "Talk over the WebSocket extension",
		Long: `Talk in the terminal, over the WebSocket extension: a small client, to try the extension out and to learn it from.

What is typed is sent to the room. The password is read from the variable ASTROCYTE_PASSWORD, an access token from
ASTROCYTE_TOKEN. With --web it serves a page with the same client for the browser instead.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			if o.web != "" {
				return serveChat(ctx, o.web, cmd.OutOrStdout())
			}
			o.password, o.token = os.Getenv("ASTROCYTE_PASSWORD"), os.Getenv("ASTROCYTE_TOKEN")
			return talk(ctx, o, cmd.InOrStdin(), cmd.OutOrStdout())
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.server, "server", "http://127.0.0.1:8008", "the server's address")
	f.StringVar(&o.user, "user", "", "who logs in")
	f.StringVar(&o.room, "room", "", "the ID of the room to talk in")
	f.StringVar(&o.web, "web", "", "serve the page for the browser at this address, such as 127.0.0.1:8090")
	return cmd
}

type chatOptions struct {
	server, user, password, token, room, web string
}

// talk shows what is said in a room, and says what is typed, until the input or ctx ends.
func talk(ctx context.Context, o chatOptions, in io.Reader, out io.Writer) error {
	if o.token == "" {
		var err error
		if o.token, err = logIn(ctx, o); err != nil {
			return err
		}
	}
	c := chat.New(chat.Options{Server: o.server, Token: o.token, Delivered: true, Take: func(t chat.Told) {
		switch text := t.Event.Text(); {
		case t.Kind == "ready":
			fmt.Fprintf(out, "connected as %s\n", t.User)
		case t.Kind == "delivered" && t.Room == o.room:
			fmt.Fprintf(out, "  (reached %s)\n", t.User)
		case t.Kind == "event" && t.Room == o.room && text != "":
			fmt.Fprintf(out, "%s: %s\n", t.Event.Sender, text)
		}
	}})
	ctx, stop := context.WithCancel(ctx)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { defer stop(); return c.Run(ctx) })
	g.Go(func() error { defer stop(); return say(ctx, c, o.room, in) })
	return g.Wait()
}

// say sends what is typed, line by line.
func say(ctx context.Context, c *chat.Client, room string, in io.Reader) error {
	begun := time.Now().UnixNano()
	lines := bufio.NewScanner(in)
	for n := 0; lines.Scan(); n++ {
		if lines.Text() == "" || room == "" {
			continue
		}
		if _, err := c.Send(ctx, room, fmt.Sprintf("chat-%d-%d", begun, n), lines.Text()); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("send: %w", err)
		}
	}
	return lines.Err()
}

// logIn gets an access token for a password.
func logIn(ctx context.Context, o chatOptions) (string, error) {
	if o.user == "" || o.password == "" {
		return "", errors.New("who logs in? --user and ASTROCYTE_PASSWORD, or ASTROCYTE_TOKEN, say it")
	}
	body, err := json.Marshal(map[string]any{
		"type": "m.login.password", "identifier": map[string]string{"type": "m.id.user", "user": o.user}, "password": o.password,
	})
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(o.server, "/")+"/_matrix/client/v3/login", bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	answered, err := http.DefaultClient.Do(r)
	if err != nil {
		return "", fmt.Errorf("log in: %w", err)
	}
	defer answered.Body.Close()
	var made struct {
		Token string `json:"access_token"`
		Error string `json:"error"`
	}
	if err := json.NewDecoder(io.LimitReader(answered.Body, 1<<20)).Decode(&made); err != nil {
		return "", fmt.Errorf("log in: %w", err)
	}
	if made.Token == "" {
		return "", fmt.Errorf("log in: %s", made.Error)
	}
	return made.Token, nil
}

// serveChat serves the page for the browser until ctx ends.
func serveChat(ctx context.Context, address string, out io.Writer) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: chat.Page(), ReadHeaderTimeout: 10 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() })
	defer stop()
	fmt.Fprintf(out, "the page is at http://%s/\n", l.Addr())
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
