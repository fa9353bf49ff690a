package main

import (
	"context"
	"flag"
	"fmt"
	"time"

	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

// fetch asks each method of the Workload API once and lets the server validate the JWT-SVID that it gave.
// The token itself is never printed.
func fetch(ctx context.Context, args []string) error {
	set := flag.NewFlagSet("fetch", flag.ContinueOnError)
	audience := set.String("audience", "", "also fetch and validate a JWT-SVID for this audience")
	timeout := set.Duration("timeout", 10*time.Second, "limit of everything")
	if _, err := parse(set, args); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, *timeout)
	defer cancel()
	client, err := workloadapi.New(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	if err := fetchX509(ctx, client); err != nil {
		return err
	}
	if *audience == "" {
		return nil
	}
	return fetchJWT(ctx, client, *audience)
}

func fetchX509(ctx context.Context, client *workloadapi.Client) error {
	svids, err := client.FetchX509SVIDs(ctx)
	if err != nil {
		return fmt.Errorf("FetchX509SVID: %w", err)
	}
	for _, svid := range svids {
		say("x509_svid", svidFacts(svid))
	}
	bundles, err := client.FetchX509Bundles(ctx)
	if err != nil {
		return fmt.Errorf("FetchX509Bundles: %w", err)
	}
	for _, bundle := range bundles.Bundles() {
		facts := map[string]any{"trustDomain": bundle.TrustDomain().Name(), "authorities": len(bundle.X509Authorities())}
		say("x509_bundle", facts)
		for _, svid := range svids {
			if svid.ID.TrustDomain() != bundle.TrustDomain() {
				continue
			}
			if _, _, err := x509svid.Verify(svid.Certificates, bundle); err != nil {
				return fmt.Errorf("%s does not verify against the bundle: %w", svid.ID, err)
			}
			say("x509_verified", map[string]any{"id": svid.ID.String()})
		}
	}
	return nil
}

func fetchJWT(ctx context.Context, client *workloadapi.Client, audience string) error {
	svid, err := client.FetchJWTSVID(ctx, jwtsvid.Params{Audience: audience})
	if err != nil {
		return fmt.Errorf("FetchJWTSVID: %w", err)
	}
	say("jwt_svid", map[string]any{
		"id": svid.ID.String(), "audience": svid.Audience, "expiry": svid.Expiry.UTC().Format(time.RFC3339),
	})
	bundles, err := client.FetchJWTBundles(ctx)
	if err != nil {
		return fmt.Errorf("FetchJWTBundles: %w", err)
	}
	for _, bundle := range bundles.Bundles() {
		facts := map[string]any{"trustDomain": bundle.TrustDomain().Name(), "keys": len(bundle.JWTAuthorities())}
		say("jwt_bundle", facts)
	}
	// Once by this client with the bundle, once by the server: they must agree.
	if _, err := jwtsvid.ParseAndValidate(svid.Marshal(), bundles, []string{audience}); err != nil {
		return fmt.Errorf("the JWT-SVID does not validate against the bundle: %w", err)
	}
	validated, err := client.ValidateJWTSVID(ctx, svid.Marshal(), audience)
	if err != nil {
		return fmt.Errorf("ValidateJWTSVID: %w", err)
	}
	say("jwt_validated", map[string]any{"id": validated.ID.String()})
	if _, err := client.ValidateJWTSVID(ctx, svid.Marshal(), audience+".wrong"); err == nil {
		return fmt.Errorf("ValidateJWTSVID accepted the token for another audience")
	}
	return nil
}

func svidFacts(svid *x509svid.SVID) map[string]any {
	leaf := svid.Certificates[0]
	return map[string]any{
		"id":        svid.ID.String(),
		"hint":      svid.Hint,
		"serial":    leaf.SerialNumber.Text(16),
		"chain":     len(svid.Certificates),
		"notBefore": leaf.NotBefore.UTC().Format(time.RFC3339),
		"notAfter":  leaf.NotAfter.UTC().Format(time.RFC3339),
	}
}
