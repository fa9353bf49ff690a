# METADATA
# title: Delegation
# description: >-
#   Who acts for the subject (RFC 8693 section 4.1). Only the current actor decides anything; those before it are history and
#   are in input.subject.former_actors for the record alone.
package portcullis.delegation

default delegated := false

# METADATA
# title: Somebody acts for the subject
delegated if is_object(input.subject.actor)

# METADATA
# title: The current actor is this one, of the token's own issuer
by(id) if {
	is_string(id)
	input.subject.actor.id == id
	input.subject.actor.issuer == input.subject.issuer
}

# METADATA
# title: The current actor is one of these, of the token's own issuer
by_one_of(ids) if {
	is_array(ids)
	some id in ids
	by(id)
}

# METADATA
# title: A client that serves others speaks as a user, and the token does not say that it acts for them
# description: Impersonation (RFC 8693 section 1.1). services are the values of client_id of such clients.
impersonation(services) if {
	is_array(services)
	input.subject.kind == "user"
	input.subject.client_id in services
	not delegated
}
