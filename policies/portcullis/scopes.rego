# METADATA
# title: Scopes
# description: >-
#   The token must carry a scope that is the action itself. Scope tokens are case-sensitive (RFC 6749 section 3.3); there
#   are no wildcards and no prefixes.
package portcullis.scopes

default granted := false

granted if {
	input.action != ""
	has(input.action)
}

# METADATA
# title: The token carries this scope
has(scope) if {
	is_string(scope)
	is_array(input.subject.scopes)
	scope in input.subject.scopes
}
