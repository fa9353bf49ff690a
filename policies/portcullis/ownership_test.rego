package portcullis.ownership_test

import data.portcullis.ownership

test_only_read_and_list_are_reads if {
	every action in ["invoice:read", "invoice:list", "billing:invoice:read", ":read"] {
		ownership.reading with input as {"action": action}
		ownership.kept with input as {"action": action}
	}
}

test_everything_else_is_a_write if {
	actions := [
		"invoice:edit", "invoice:Read", "invoice:read ", "invoice:readall", "invoice:spread", "invoice:read:all",
		"read", "list", "", "invoice:", "invoice.read", null, 1, ["invoice:read"],
	]
	every action in actions {
		not ownership.reading with input as {"action": action}
		not ownership.kept with input as {"action": action}
	}
}

test_the_owner_writes if {
	facts := {"action": "invoice:edit", "subject": {"id": "alice"}, "resource": {"stored": {"owner": "alice"}}}
	ownership.kept with input as facts
	ownership.owned with input as facts
}
