# METADATA
# title: Clients
# description: >-
#   Which software asks, and for whom. What holds for a whole route is better said in AccessPolicy (clientKind,
#   firstPartyScopes), where it is enforced before any rule is asked.
package portcullis.clients

# METADATA
# title: A client that acts for itself
machine if input.subject.kind == "machine"

# METADATA
# title: A person
user if input.subject.kind == "user"

# METADATA
# title: The client is one of these
one_of(ids) if {
	is_array(ids)
	is_string(input.subject.client_id)
	input.subject.client_id in ids
}

# METADATA
# title: A client that is not one of ours has a scope that is for ours alone
# description: prefixes name the scopes, such as "admin:"; ours are values of client_id. What is not a list keeps nobody out of suspicion.
third_party_scope(prefixes, ours) if {
	some scope in input.subject.scopes
	reserved(scope, prefixes)
	not one_of(ours)
}

reserved(scope, prefixes) if {
	some prefix in prefixes
	startswith(scope, prefix)
}

# Whoever misspells the list of reserved scopes has reserved all of them.
reserved(_, prefixes) if not is_array(prefixes)
