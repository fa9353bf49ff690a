# Paid back by the billing role, up to data.settings.refund_limit and never more than was invoiced.
package app

import data.portcullis.roles

allow contains "invoice.refund" if {
	input.action == "invoice:refund"
	own
	roles.has("billing")
	within_limit
}

deny contains {"rule": "invoice.refund.role", "reason": "role_missing"} if {
	input.action == "invoice:refund"
	not roles.has("billing")
}

deny contains {"rule": "invoice.refund.limit", "reason": "limit_exceeded"} if {
	input.action == "invoice:refund"
	not within_limit
}

# Rego orders values of different types (any number is below any string), so each side must be a number first.
within_limit if {
	amount := input.resource.request.amount
	is_number(amount)
	amount > 0
	is_number(data.settings.refund_limit)
	amount <= data.settings.refund_limit
	is_number(input.resource.stored.attributes.amount)
	amount <= input.resource.stored.attributes.amount
}
