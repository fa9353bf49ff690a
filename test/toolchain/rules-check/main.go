// Command rules-check reads one rule file as Prometheus itself would (groups as in a PrometheusRule's spec, from a file
// or from standard input), with the parser and checks of Prometheus: expressions, templates, durations, names.
// It is what promtool does for rules, without the clouds' clients that make up most of promtool.
//
//	rules-check FILE | -
//
// Exit code: 0 fine, 1 each fault on a line of standard error, 2 wrong usage.
package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: rules-check FILE | -")
		os.Exit(2)
	}
	content, err := read(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	groups, faults := rulefmt.Parse(content, false, model.LegacyValidation, parser.NewParser(parser.Options{}), slog.Default())
	for _, fault := range faults {
		fmt.Fprintln(os.Stderr, fault)
	}
	if len(faults) > 0 {
		os.Exit(1)
	}
	rules := 0
	for _, group := range groups.Groups {
		rules += len(group.Rules)
	}
	if rules == 0 {
		fmt.Fprintln(os.Stderr, "there is no rule in it")
		os.Exit(1)
	}
	fmt.Printf("%d rules in %d groups\n", rules, len(groups.Groups))
}

func read(path string) ([]byte, error) {
	if path == "-" {
		return io.ReadAll(os.Stdin)
	}
	return os.ReadFile(path)
}
