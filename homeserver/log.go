package homeserver

import (
	"io"
	"log/slog"
	"os"

	"golang.org/x/term"

	"astrocyte/config"
)

// NewLog makes the log: text on a terminal and JSON otherwise, unless the settings say. The level can be
// changed while it is in use.
func NewLog(c config.Log, out io.Writer, level *slog.LevelVar) *slog.Logger {
	level.Set(levelOf(c))
	o := &slog.HandlerOptions{Level: level}
	text := c.Format == "text"
	if file, is := out.(*os.File); is && c.Format == "auto" {
		text = term.IsTerminal(int(file.Fd()))
	}
	if text {
		return slog.New(slog.NewTextHandler(out, o))
	}
	return slog.New(slog.NewJSONHandler(out, o))
}

func levelOf(c config.Log) slog.Level {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Level)); err != nil {
		return slog.LevelInfo // the settings were checked: this is a Config made by hand
	}
	return level
}
