// Command spiffe-probe is a workload that knows nothing but the standard SPIFFE Workload API, through go-spiffe:
// it asks for identities, serves and calls over mutual TLS, and prints what it saw as JSON, one object a line.
//
//	spiffe-probe serve [--listen :8443] [--trust-domain NAME]
//	spiffe-probe call URL [--count N] [--interval 100ms] [--trust-domain NAME | --expect SPIFFE-ID]
//	spiffe-probe fetch [--audience NAME] [--timeout 10s]
//
// The socket comes from SPIFFE_ENDPOINT_SOCKET. Exit code: 0 fine, 1 something failed, 2 wrong usage.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		say("error", map[string]any{"message": err.Error()})
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	commands := map[string]func(context.Context, []string) error{"serve": serve, "call": call, "fetch": fetch}
	if len(args) > 0 {
		if command, known := commands[args[0]]; known {
			return command(ctx, args[1:])
		}
	}
	fmt.Fprintln(os.Stderr, "usage: spiffe-probe serve | call URL | fetch (see main.go)")
	os.Exit(2)
	return nil
}

var printing sync.Mutex

// say prints one JSON object with the event's name first in meaning, not in order: keys are sorted.
func say(event string, facts map[string]any) {
	line := map[string]any{"event": event}
	for key, value := range facts {
		line[key] = value
	}
	text, err := json.Marshal(line)
	if err != nil {
		panic(err)
	}
	printing.Lock()
	defer printing.Unlock()
	fmt.Println(string(text))
}

// peers are the flags that say who the other side may be.
type peers struct{ domain, id string }

func (p *peers) flags(set *flag.FlagSet) {
	set.StringVar(&p.domain, "trust-domain", "", "only peers of this trust domain")
	set.StringVar(&p.id, "expect", "", "only this SPIFFE ID")
}

func (p *peers) authorizer() (tlsconfig.Authorizer, error) {
	switch {
	case p.id != "":
		id, err := spiffeid.FromString(p.id)
		return tlsconfig.AuthorizeID(id), err
	case p.domain != "":
		domain, err := spiffeid.TrustDomainFromString(p.domain)
		return tlsconfig.AuthorizeMemberOf(domain), err
	default:
		return tlsconfig.AuthorizeAny(), nil
	}
}

// parse takes flags before and after the words, and returns the words.
func parse(set *flag.FlagSet, args []string) ([]string, error) {
	var words []string
	for {
		if err := set.Parse(args); err != nil {
			return nil, err
		}
		if set.NArg() == 0 {
			return words, nil
		}
		words, args = append(words, set.Arg(0)), set.Args()[1:]
	}
}
