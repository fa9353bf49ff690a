# METADATA
# title: Invoices
# description: >-
#   The worked example: invoices of several tenants. The floor has already made sure that caller and invoice are in one
#   tenant, that only the owner writes, and that the token carries the action as a scope.
package app

import data.portcullis.ownership

allow contains "invoice.list" if {
	input.action == "invoice:list"
	input.resource.stored.type == "invoice"
}

allow contains "invoice.read.owner" if {
	input.action == "invoice:read"
	own
}

allow contains "invoice.edit.owner" if {
	input.action == "invoice:edit"
	own
}

allow contains "invoice.delete.draft" if {
	input.action == "invoice:delete"
	own
	input.resource.stored.attributes.status == "draft"
}

# To anyone but its owner a private invoice does not exist, whatever is tried with it.
deny contains {"rule": "invoice.private", "reason": "not_owner", "hide": true} if {
	input.action != "invoice:list"
	not own
	not shared
}

deny contains "invoice.paid" if {
	input.action == "invoice:edit"
	input.resource.stored.attributes.status == "paid"
}

deny contains "invoice.not_draft" if {
	input.action == "invoice:delete"
	not input.resource.stored.attributes.status == "draft"
}

own if {
	input.resource.stored.type == "invoice"
	ownership.owned
}
