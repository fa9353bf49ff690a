package portcullis.delegation_test

import data.portcullis.delegation

acting(actor) := {"subject": {"id": "alice", "kind": "user", "issuer": "https://id", "client_id": "gateway", "actor": actor}}

former(before) := {"subject": {
	"id": "alice", "kind": "user", "issuer": "https://id", "client_id": "gateway",
	"actor": {"id": "orders", "issuer": "https://id"}, "former_actors": before,
}}

test_the_current_actor_counts if {
	one := acting({"id": "orders", "issuer": "https://id"})
	delegation.delegated with input as one
	delegation.by("orders") with input as one
	delegation.by_one_of(["billing", "orders"]) with input as one
	not delegation.by("Orders") with input as one
	not delegation.by_one_of(["billing"]) with input as one
	not delegation.by_one_of("orders") with input as one
}

test_those_before_it_do_not if {
	one := former([{"id": "billing", "issuer": "https://id"}])
	not delegation.by("billing") with input as one
	not delegation.by_one_of(["billing"]) with input as one
	delegation.by("orders") with input as one
}

test_an_actor_of_another_issuer_is_another_actor if {
	not delegation.by("orders") with input as acting({"id": "orders", "issuer": "https://other"})
	not delegation.by("orders") with input as acting({"id": "orders"})
	not delegation.by(null) with input as acting({"id": null, "issuer": "https://id"})
}

test_nobody_acts if {
	alone := {"subject": {"id": "alice", "kind": "user", "issuer": "https://id", "client_id": "gateway"}}
	delegation.delegated == false with input as alone
	not delegation.by("orders") with input as alone
	delegation.impersonation(["gateway"]) with input as alone
	not delegation.impersonation(["billing"]) with input as alone
	not delegation.impersonation("gateway") with input as alone
	not delegation.impersonation(["gateway"]) with input as acting({"id": "gateway", "issuer": "https://id"})
}

test_a_client_that_speaks_for_itself_impersonates_nobody if {
	itself := {"subject": {"id": "gateway", "kind": "machine", "issuer": "https://id", "client_id": "gateway"}}
	not delegation.impersonation(["gateway"]) with input as itself
}
