# METADATA
# title: Roles
# description: Roles of the caller, as the token names them (RFC 9068 section 2.2.3.1). Exact, case-sensitive.
package portcullis.roles

# METADATA
# title: The caller has this role
has(role) if {
	is_string(role)
	is_array(input.subject.roles)
	role in input.subject.roles
}
