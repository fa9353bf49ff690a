package app_test

import data.app

settings := {
	"step_up_above": "100.00", "strong": ["urn:example:gold"], "agents": ["assistant"], "services": ["gateway"],
	"reserved_scopes": ["admin:"], "own_clients": ["console"],
}

entry := {"type": "payment", "actions": ["create"], "account": "12345", "limit": {"amount": "500.00", "currency": "USD"}}

question := {
	"version": 1, "now": 1000, "action": "payment:create",
	"subject": {
		"id": "alice", "tenant": "acme", "kind": "user", "client_id": "bank", "issuer": "https://id.example",
		"roles": [], "scopes": ["payment:create"], "confirmation": "dpop", "amr": ["pwd"],
	},
	"authorization_details": [entry],
	"resource": {
		"stored": {"type": "account", "id": "12345", "tenant": "acme", "owner": "alice"},
		"request": {"amount": "50.00", "currency": "USD"},
	},
}

pay(amount, subject) := object.union(question, {"subject": subject, "resource": {"request": {"amount": amount}}})

strong := {"acr": "urn:example:gold", "auth_time": 800}

consent := {"rule": "payment.consent", "reason": "rar_mismatch"}

stronger := {
	"rule": "payment.step_up", "reason": "step_up_required",
	"step_up": {"acr_values": ["urn:example:gold"], "max_age": 300},
}

says(asked, allow, deny) if {
	app.allow == allow with input as asked with data.settings as settings
	app.deny == deny with input as asked with data.settings as settings
}

test_money_leaves_as_consented if {
	says(pay("50.00", {}), {"payment.create"}, set())
	says(pay("500.00", strong), {"payment.create"}, set())
	says(pay("500.01", strong), set(), {consent})
}

test_another_account_was_not_consented_to if {
	other := object.union(question, {"resource": {"stored": {"id": "99999"}}})
	says(other, set(), {consent})
	says(object.union(question, {"authorization_details": []}), set(), {consent})
	loan := object.union(entry, {"type": "loan"})
	says(object.union(question, {"authorization_details": [loan]}), set(), {consent})
}

test_more_needs_a_stronger_authentication if {
	says(pay("100.00", {}), {"payment.create"}, set())
	says(pay("100.01", {}), {"payment.create"}, {stronger})
	says(pay("100.01", {"acr": "urn:example:gold"}), {"payment.create"}, {stronger})
	says(pay("100.01", {"acr": "urn:example:gold", "auth_time": 699}), {"payment.create"}, {stronger})
	says(pay("100.01", {"acr": "silver", "auth_time": 1000}), {"payment.create"}, {stronger})
	says(pay("100.01", strong), {"payment.create"}, set())
}

test_a_bearer_token_moves_no_money if {
	says(pay("1.00", {"confirmation": "bearer"}), {"payment.create"}, {"payment.bearer"})
}

test_who_acts_for_the_owner_is_known if {
	here := {"id": "assistant", "issuer": "https://id.example"}
	says(pay("1.00", {"actor": here}), {"payment.create"}, set())
	says(pay("1.00", {"actor": object.union(here, {"id": "scraper"})}), {"payment.create"}, {"payment.actor"})
	says(pay("1.00", {"client_id": "gateway"}), {"payment.create"}, {"payment.impersonation"})
	says(pay("1.00", {"client_id": "gateway", "actor": here}), {"payment.create"}, set())
}

test_machines_settle_and_people_do_not if {
	asked := object.union(question, {"action": "settlement:run"})
	says(asked, set(), {"settlement.user"})
	machine := {"kind": "machine", "id": "batch", "client_id": "batch"}
	its_own := object.union(asked, {"subject": machine, "resource": {"stored": {"owner": "batch"}}})
	says(its_own, {"settlement.run"}, set())
}

test_reserved_scopes_are_for_our_clients if {
	says(pay("1.00", {"scopes": ["admin:users"]}), {"payment.create"}, {"client.third_party"})
	says(pay("1.00", {"scopes": ["admin:users"], "client_id": "console"}), {"payment.create"}, set())
}

test_the_owner_reads if {
	says(object.union(question, {"action": "account:read"}), {"account.read"}, set())
	stranger := object.union(question, {"action": "account:read", "resource": {"stored": {"owner": "bob"}}})
	says(stranger, set(), set())
}
