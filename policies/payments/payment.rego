# METADATA
# title: Payments
# description: >-
#   The worked example of tokens in depth: money leaves an account only as its owner has consented to it (RFC 9396), above a
#   threshold only after a fresh and strong authentication (RFC 9470), and never through a client that does not say whom it
#   acts for. The floor has already made sure that caller and account are in one tenant, that the owner asks, and that the
#   token carries the action as a scope.
package app

import data.portcullis.clients
import data.portcullis.delegation
import data.portcullis.ownership
import data.portcullis.rar
import data.portcullis.step_up

allow contains "payment.create" if {
	input.action == "payment:create"
	own
	consented
}

allow contains "account.read" if {
	input.action == "account:read"
	own
}

allow contains "settlement.run" if {
	input.action == "settlement:run"
	clients.machine
	own
}

deny contains {"rule": "payment.consent", "reason": "rar_mismatch"} if {
	input.action == "payment:create"
	not consented
}

deny contains {"rule": "payment.step_up", "reason": "step_up_required", "step_up": stronger} if {
	input.action == "payment:create"
	not small
	not strongly_authenticated
}

deny contains "payment.bearer" if {
	input.action == "payment:create"
	input.subject.confirmation == "bearer"
}

deny contains "payment.actor" if {
	delegation.delegated
	not delegation.by_one_of(data.settings.agents)
}

deny contains "payment.impersonation" if delegation.impersonation(data.settings.services)

deny contains "settlement.user" if {
	input.action == "settlement:run"
	not clients.machine
}

deny contains "client.third_party" if clients.third_party_scope(data.settings.reserved_scopes, data.settings.own_clients)

consented if {
	rar.permits("payment", {
		"action": "create",
		"account": input.resource.stored.id,
		"amount": input.resource.request.amount,
		"currency": input.resource.request.currency,
	})
}

small if rar.within(input.resource.request.amount, data.settings.step_up_above)

strongly_authenticated if {
	step_up.reached(data.settings.strong)
	step_up.recent(recent)
}

# What would do, for the caller (RFC 9470 section 3).
stronger := {"acr_values": data.settings.strong, "max_age": recent}

recent := 300

own if {
	input.resource.stored.type == "account"
	ownership.owned
}
