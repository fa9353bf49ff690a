package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

// serve answers every request with 200 and the caller's SPIFFE ID, over mutual TLS with the newest SVID.
func serve(ctx context.Context, args []string) error {
	set := flag.NewFlagSet("serve", flag.ContinueOnError)
	listen := set.String("listen", ":8443", "address")
	var allowed peers
	allowed.flags(set)
	if _, err := parse(set, args); err != nil {
		return err
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
	go followUpdates(ctx, source)
	server := &http.Server{
		Addr:              *listen,
		Handler:           http.HandlerFunc(whoAreYou),
		TLSConfig:         tlsconfig.MTLSServerConfig(source, source, authorizer),
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          log.New(handshakeErrors{}, "", 0),
	}
	go func() {
		<-ctx.Done()
		grace, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = server.Shutdown(grace)
	}()
	say("serving", map[string]any{"listen": *listen})
	if err := server.ListenAndServeTLS("", ""); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func whoAreYou(response http.ResponseWriter, request *http.Request) {
	id, err := peerID(request.TLS)
	if err != nil {
		http.Error(response, err.Error(), http.StatusForbidden)
		return
	}
	_, _ = io.WriteString(response, id.String()+"\n")
}

func peerID(state *tls.ConnectionState) (spiffeid.ID, error) {
	if state == nil || len(state.PeerCertificates) == 0 || len(state.PeerCertificates[0].URIs) != 1 {
		return spiffeid.ID{}, errors.New("the peer showed no SPIFFE ID")
	}
	return spiffeid.FromURI(state.PeerCertificates[0].URIs[0])
}

// followUpdates prints each SVID once, the first included.
func followUpdates(ctx context.Context, source *workloadapi.X509Source) {
	for {
		if svid, err := source.GetX509SVID(); err == nil {
			say("svid", svidFacts(svid))
		}
		select {
		case <-ctx.Done():
			return
		case <-source.Updated():
		}
	}
}

// handshakeErrors turns what net/http would log into our lines.
type handshakeErrors struct{}

func (handshakeErrors) Write(text []byte) (int, error) {
	say("server_error", map[string]any{"message": string(text)})
	return len(text), nil
}
