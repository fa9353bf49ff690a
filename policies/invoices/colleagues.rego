# What others of the same tenant may do with an invoice that its owner shares with them.
package app

allow contains "invoice.read.colleague" if {
	input.action == "invoice:read"
	shared
}

shared if {
	input.resource.stored.type == "invoice"
	input.resource.stored.attributes.visibility == "tenant"
}
