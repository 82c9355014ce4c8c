package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"agentassist-poller/internal/app"
)

// duration is a flag that takes what the configuration takes as a duration: days too, and nothing below 0.
type duration time.Duration

// durationVar adds a flag for a duration to a command.
func durationVar(c *cobra.Command, p *time.Duration, name string, value time.Duration, usage string) {
	*p = value
	c.Flags().Var((*duration)(p), name, usage)
}

func (d *duration) Set(text string) error {
	v, err := app.ParseDuration(text)
	if err == nil && v < 0 {
		err = errors.New("want 0 or more")
	}
	if err != nil {
		return err
	}
	*d = duration(v)
	return nil
}

// String returns what Set reads; "0" by itself tells the help that there is no default worth a word.
func (d *duration) String() string {
	if *d == 0 {
		return "0"
	}
	return app.FormatDuration(time.Duration(*d))
}

func (d *duration) Type() string { return "duration" }

// flagError says what a flag takes where the parser speaks of Go's own functions.
func flagError(_ *cobra.Command, err error) error {
	number, ok := errors.AsType[*strconv.NumError](err)
	if !ok {
		return err
	}
	want := "a whole number, such as 10000"
	switch number.Func {
	case "ParseUint":
		want = "a whole number, 0 or more"
	case "ParseFloat":
		want = "a number, such as 0.05"
	case "ParseBool":
		want = "true or false"
	}
	return fmt.Errorf("%swant %s", strings.TrimSuffix(err.Error(), number.Error()), want)
}

// noArgs refuses arguments, and says where the value may belong that one was meant to be.
func noArgs(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := ""
	if c.Flags().Lookup("config") != nil {
		hint = "; the configuration is named with --config"
	}
	return fmt.Errorf("%q: %s takes no arguments, only flags%s", args[0], c.CommandPath(), hint)
}

// oneOf refuses an argument that names none of a command's own commands, and names them.
func oneOf(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var names []string
	for _, sub := range c.Commands() {
		names = append(names, sub.Name())
	}
	return fmt.Errorf("unknown command %q for %q; want one of %s", args[0], c.CommandPath(), strings.Join(names, ", "))
}
