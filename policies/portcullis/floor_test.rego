package portcullis.floor_test

import data.portcullis.floor

base := {
	"action": "invoice:read",
	"subject": {"id": "alice", "tenant": "acme", "scopes": ["invoice:read", "invoice:edit"]},
	"resource": {"stored": {"type": "invoice", "id": "inv-1", "tenant": "acme", "owner": "alice"}},
}

tenant_entry := {"rule": "floor.tenant", "reason": "tenant_mismatch", "hide": true}

owner_entry := {"rule": "floor.owner", "reason": "not_owner", "hide": false}

scope_entry := {"rule": "floor.scope", "reason": "insufficient_scope", "hide": false}

allowed := {"effect": "allow", "allow": ["floor"], "deny": []}

denied(entries) := {"effect": "deny", "allow": [], "deny": sort(entries)}

replaced(path, value) := json.patch(base, [{"op": "replace", "path": path, "value": value}])

removed(path) := json.patch(base, [{"op": "remove", "path": path}])

test_owner_reads_and_writes if {
	floor.verdict == allowed with input as base
	floor.verdict == allowed with input as replaced("/action", "invoice:edit")
}

test_colleague_reads_but_never_writes if {
	floor.verdict == allowed with input as replaced("/subject/id", "bob")
	edit := json.patch(replaced("/subject/id", "bob"), [{"op": "replace", "path": "/action", "value": "invoice:edit"}])
	floor.verdict == denied({owner_entry}) with input as edit
}

test_tenant_must_be_equal_nonempty_strings if {
	every wrong in ["globex", "", "ACME", "acme ", null, 7, true, ["acme"], {"acme": 1}] {
		floor.verdict == denied({tenant_entry}) with input as replaced("/resource/stored/tenant", wrong)
		floor.verdict == denied({tenant_entry}) with input as replaced("/subject/tenant", wrong)
	}
}

test_equal_tenants_that_are_no_tenants_are_denied if {
	every nothing in ["", null, 7, true, ["acme"], {}] {
		both := json.patch(base, [
			{"op": "replace", "path": "/resource/stored/tenant", "value": nothing},
			{"op": "replace", "path": "/subject/tenant", "value": nothing},
		])
		floor.verdict == denied({tenant_entry}) with input as both
	}
}

test_missing_tenant_is_denied if {
	floor.verdict == denied({tenant_entry}) with input as removed("/resource/stored/tenant")
	floor.verdict == denied({tenant_entry}) with input as removed("/subject/tenant")
}

test_owner_facts_must_be_equal_nonempty_strings_for_a_write if {
	write := replaced("/action", "invoice:edit")
	every path in ["/resource/stored/owner", "/subject/id"] {
		every wrong in ["", "Alice", null, 0, ["alice"]] {
			patched := json.patch(write, [{"op": "replace", "path": path, "value": wrong}])
			floor.verdict == denied({owner_entry}) with input as patched
		}
		absent := json.patch(write, [{"op": "remove", "path": path}])
		floor.verdict == denied({owner_entry}) with input as absent
	}
}

test_a_resource_without_owner_belongs_to_nobody_without_id if {
	nobody := json.patch(base, [
		{"op": "replace", "path": "/action", "value": "invoice:edit"},
		{"op": "replace", "path": "/resource/stored/owner", "value": ""},
		{"op": "replace", "path": "/subject/id", "value": ""},
	])
	floor.verdict == denied({owner_entry}) with input as nobody
}

test_scope_must_be_the_action_itself if {
	wrong := [[], ["invoice"], ["invoice:*"], ["*"], ["Invoice:read"], ["invoice:read "], ["invoice:reader"], "invoice:read", null]
	every scopes in wrong {
		floor.verdict == denied({scope_entry}) with input as replaced("/subject/scopes", scopes)
	}
	floor.verdict == denied({scope_entry}) with input as removed("/subject/scopes")
	floor.verdict == denied({scope_entry}) with input as replaced("/subject/scopes", {"a": "invoice:read"})
}

test_action_must_be_a_nonempty_string if {
	every action in ["", null, 1, ["invoice:read"]] {
		patched := json.patch(replaced("/action", action), [{"op": "replace", "path": "/subject/scopes", "value": [action]}])
		floor.verdict == denied({scope_entry, owner_entry}) with input as json.patch(
			patched,
			[{"op": "replace", "path": "/subject/id", "value": "bob"}],
		)
	}
}

test_everything_missing_gives_every_reason if {
	every nothing in [{}, null, [], "", 0, false] {
		floor.verdict == denied({tenant_entry, owner_entry, scope_entry}) with input as nothing
	}
	floor.verdict == denied({tenant_entry, owner_entry, scope_entry})
}

test_what_the_caller_sent_is_never_read if {
	sent := json.patch(replaced("/resource/stored/tenant", "globex"), [{
		"op": "add", "path": "/resource/request",
		"value": {"tenant": "acme", "owner": "alice", "stored": {"tenant": "acme"}},
	}])
	floor.verdict == denied({tenant_entry}) with input as sent
}
