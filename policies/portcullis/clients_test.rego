package portcullis.clients_test

import data.portcullis.clients

asking(client, scopes) := {"subject": {"kind": "user", "client_id": client, "scopes": scopes}}

test_kinds if {
	clients.machine with input as {"subject": {"kind": "machine"}}
	not clients.machine with input as {"subject": {"kind": "user"}}
	not clients.machine with input as {"subject": {}}
	clients.user with input as {"subject": {"kind": "user"}}
	not clients.user with input as {"subject": {"kind": "machine"}}
	not clients.user with input as {"subject": {}}
}

test_a_client_is_exact if {
	clients.one_of(["web", "ops"]) with input as asking("ops", [])
	every client in ["Ops", "ops ", "", null, ["ops"]] {
		not clients.one_of(["web", "ops"]) with input as asking(client, [])
	}
	not clients.one_of("ops") with input as asking("ops", [])
	not clients.one_of(["ops"]) with input as {"subject": {}}
}

test_reserved_scopes_are_for_ours if {
	third("shop", ["admin:users"])
	third("shop", ["read", "admin:"])
	not third("shop", ["read", "Admin:users", "xadmin:users"])
	not third("shop", [])
	not third("ops", ["admin:users"])
	clients.third_party_scope(["admin:"], null) with input as asking("ops", ["admin:users"])
	clients.third_party_scope("admin:", ["ops"]) with input as asking("shop", ["read"])
	clients.third_party_scope(["admin:"], ["ops"]) with input as {"subject": {"scopes": ["admin:users"]}}
}

third(client, scopes) if {
	clients.third_party_scope(["admin:"], ["ops"]) with input as asking(client, scopes)
}
