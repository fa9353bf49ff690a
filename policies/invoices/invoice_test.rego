package app_test

import data.app

ask(action, stored, request) := {
	"action": action,
	"subject": {"id": "alice", "tenant": "acme", "roles": ["billing"]},
	"resource": {"stored": stored, "request": request},
}

invoice(owner, attributes) := {
	"type": "invoice", "id": "inv-1", "tenant": "acme", "owner": owner,
	"attributes": object.union({"amount": 300, "status": "sent", "visibility": "private"}, attributes),
}

private_entry := {"rule": "invoice.private", "reason": "not_owner", "hide": true}

# The verdict on alice's question: rules that allow, entries that deny.
says(question, allow, deny) if {
	app.allow == allow with input as question with data.settings.refund_limit as 500
	app.deny == deny with input as question with data.settings.refund_limit as 500
}

test_the_owner_reads_and_edits if {
	says(ask("invoice:read", invoice("alice", {}), {}), {"invoice.read.owner"}, set())
	says(ask("invoice:edit", invoice("alice", {}), {}), {"invoice.edit.owner"}, set())
}

test_anyone_of_the_tenant_lists if {
	says(ask("invoice:list", {"type": "invoice", "tenant": "acme"}, {}), {"invoice.list"}, set())
	says(ask("invoice:list", {"type": "report", "tenant": "acme"}, {}), set(), set())
}

test_a_private_invoice_of_a_colleague_is_hidden_whatever_is_tried if {
	every action in ["invoice:read", "invoice:edit", "invoice:export"] {
		says(ask(action, invoice("bob", {}), {}), set(), {private_entry})
	}
}

test_only_invoices_are_covered if {
	says(ask("invoice:read", object.union(invoice("alice", {}), {"type": "report"}), {}), set(), {private_entry})
	says(ask("invoice:read", {}, {}), set(), {private_entry})
}

test_a_paid_invoice_is_not_edited if {
	says(ask("invoice:edit", invoice("alice", {"status": "paid"}), {}), {"invoice.edit.owner"}, {"invoice.paid"})
}

test_only_a_draft_is_deleted if {
	says(ask("invoice:delete", invoice("alice", {"status": "draft"}), {}), {"invoice.delete.draft"}, set())
	every status in ["sent", "paid", "Draft", null] {
		says(ask("invoice:delete", invoice("alice", {"status": status}), {}), set(), {"invoice.not_draft"})
	}
}

test_an_unknown_action_is_not_allowed if {
	says(ask("invoice:export", invoice("alice", {}), {}), set(), set())
}
