package app_test

import data.app

limit_entry := {"rule": "invoice.refund.limit", "reason": "limit_exceeded"}

role_entry := {"rule": "invoice.refund.role", "reason": "role_missing"}

refund(amount) := ask("invoice:refund", invoice("alice", {}), {"amount": amount})

test_billing_refunds_up_to_the_limit_and_the_amount if {
	every amount in [0.01, 1, 299.99, 300] {
		says(refund(amount), {"invoice.refund"}, set())
	}
	large := invoice("alice", {"amount": 9000})
	says(ask("invoice:refund", large, {"amount": 500}), {"invoice.refund"}, set())
	says(ask("invoice:refund", large, {"amount": 500.01}), set(), {limit_entry})
}

test_amount_must_be_a_positive_number_within_the_invoice if {
	every amount in [0, -1, -0.01, 300.01, 1e300, "10", "", null, true, [10], {"amount": 10}] {
		says(refund(amount), set(), {limit_entry})
	}
	says(ask("invoice:refund", invoice("alice", {}), {}), set(), {limit_entry})
}

test_a_stored_amount_that_is_no_number_refunds_nothing if {
	every amount in ["300", null, [300]] {
		says(ask("invoice:refund", invoice("alice", {"amount": amount}), {"amount": 10}), set(), {limit_entry})
	}
}

test_a_limit_that_is_no_number_refunds_nothing if {
	every limit in ["500", null, [500]] {
		app.deny == {limit_entry} with input as refund(10) with data.settings.refund_limit as limit
	}
	app.deny == {limit_entry} with input as refund(10) with data.settings as {}
}

test_without_the_billing_role_nothing_is_refunded if {
	every roles in [[], ["Billing"], "billing", null] {
		question := json.patch(refund(10), [{"op": "replace", "path": "/subject/roles", "value": roles}])
		says(question, set(), {role_entry})
	}
}
