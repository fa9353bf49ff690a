package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

// tally is what call saw. Serials are of leaves: more than one on a side means that side rotated.
type tally struct {
	ok, failed   int
	mine, theirs map[string]bool
	peer         map[string]bool
	lastError    string
}

// call makes one new connection and one request a time; the exit code says whether all were answered with 200.
func call(ctx context.Context, args []string) error {
	set := flag.NewFlagSet("call", flag.ContinueOnError)
	count := set.Int("count", 1, "requests; 0 means until a signal")
	interval := set.Duration("interval", 100*time.Millisecond, "pause between requests")
	timeout := set.Duration("timeout", 5*time.Second, "limit of one request")
	var allowed peers
	allowed.flags(set)
	words, err := parse(set, args)
	if err != nil {
		return err
	}
	if len(words) != 1 {
		return errors.New("call needs one URL")
	}
	authorizer, err := allowed.authorizer()
	if err != nil {
		return err
	}
	source, err := workloadapi.NewX509Source(ctx)
	if err != nil {
		return fmt.Errorf("no X.509-SVID: %w", err)
	}
	defer source.Close()
	client := &http.Client{Timeout: *timeout, Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   tlsconfig.MTLSClientConfig(source, source, authorizer),
	}}
	seen := tally{mine: map[string]bool{}, theirs: map[string]bool{}, peer: map[string]bool{}}
	for n := 0; (*count == 0 || n < *count) && ctx.Err() == nil; n++ {
		seen.add(once(client, words[0], source))
		if *count == 0 && n%10 == 9 {
			seen.print("progress")
		}
		select {
		case <-ctx.Done():
		case <-time.After(*interval):
		}
	}
	seen.print("called")
	if seen.failed > 0 {
		return fmt.Errorf("%d of %d requests failed, the last with: %s", seen.failed, seen.ok+seen.failed, seen.lastError)
	}
	return nil
}

type answer struct{ mine, theirs, peer string }

// The request is not tied to the signal: stopping must not look like a failure.
func once(client *http.Client, url string, source *workloadapi.X509Source) (answer, error) {
	svid, err := source.GetX509SVID()
	if err != nil {
		return answer{}, err
	}
	response, err := client.Get(url)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 4096))
	if err != nil {
		return answer{}, err
	}
	if response.StatusCode != http.StatusOK {
		return answer{}, fmt.Errorf("status %d: %s", response.StatusCode, body)
	}
	id, err := peerID(response.TLS)
	if err != nil {
		return answer{}, err
	}
	theirs := response.TLS.PeerCertificates[0].SerialNumber
	return answer{svid.Certificates[0].SerialNumber.Text(16), theirs.Text(16), id.String()}, nil
}

func (t *tally) add(a answer, err error) {
	if err != nil {
		t.failed, t.lastError = t.failed+1, err.Error()
		say("failed", map[string]any{"message": err.Error()})
		return
	}
	t.ok++
	t.mine[a.mine], t.theirs[a.theirs], t.peer[a.peer] = true, true, true
}

func (t *tally) print(event string) {
	peers := []string{}
	for id := range t.peer {
		peers = append(peers, id)
	}
	say(event, map[string]any{
		"ok": t.ok, "failed": t.failed, "serials": len(t.mine), "peerSerials": len(t.theirs), "peers": peers,
	})
}
