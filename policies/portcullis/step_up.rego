# METADATA
# title: Step-up authentication
# description: >-
#   How, and when, the user authenticated (RFC 9068 section 2.2.1). A rule that wants more says so with the reason
#   step_up_required, and may say with "step_up" what would do; the caller is then told to come back stronger (RFC 9470). What
#   a whole route wants is better said in AccessPolicy.
package portcullis.step_up

# METADATA
# title: The authentication context is one of these
reached(contexts) if {
	is_array(contexts)
	is_string(input.subject.acr)
	input.subject.acr in contexts
}

# METADATA
# title: The user authenticated at most so many seconds ago
# description: A moment that lies ahead says nothing.
recent(seconds) if {
	is_number(input.subject.auth_time)
	is_number(seconds)
	input.subject.auth_time <= input.now
	input.now - input.subject.auth_time <= seconds
}

# METADATA
# title: The user authenticated with this method (RFC 8176)
used(method) if {
	is_array(input.subject.amr)
	is_string(method)
	method in input.subject.amr
}
