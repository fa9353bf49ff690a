package portcullis.roles_test

import data.portcullis.roles
import data.portcullis.scopes

test_role_is_exact if {
	roles.has("billing") with input as {"subject": {"roles": ["reader", "billing"]}}
	every wrong in [[], ["Billing"], ["billing "], ["bill"], "billing", {"x": "billing"}, null] {
		not roles.has("billing") with input as {"subject": {"roles": wrong}}
	}
	not roles.has("billing") with input as {"subject": {}}
	not roles.has(null) with input as {"subject": {"roles": [null]}}
}

test_scope_is_exact if {
	scopes.has("a") with input as {"subject": {"scopes": ["a"]}}
	not scopes.has("A") with input as {"subject": {"scopes": ["a"]}}
	not scopes.has(null) with input as {"subject": {"scopes": [null]}}
}
