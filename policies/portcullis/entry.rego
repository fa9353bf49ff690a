# METADATA
# title: The application's verdict
# description: >-
#   Combines what the application adds to app.allow and app.deny: default deny, deny overrides allow, and no entry can be
#   dropped for being malformed.
package portcullis.entry

default effect := "deny"

# Sorted, because a set compiled to WebAssembly comes out in the order of its hashes.
verdict := {"effect": effect, "allow": sort(allow), "deny": sort(deny)}

effect := "allow" if {
	count(allow) > 0
	count(deny) == 0
}

# What an application may blame. Everything else in the closed list is said by the floor or by the sidecar.
reasons := {
	"policy_denied", "not_owner", "role_missing", "limit_exceeded", "insufficient_scope", "rar_mismatch",
	"step_up_required",
}

allow contains rule if {
	some rule in data.app.allow
	is_string(rule)
}

deny contains {"rule": entry, "reason": "policy_denied", "hide": false} if {
	some entry in data.app.deny
	is_string(entry)
}

# Any "hide" but false hides: of two answers the one that says less.
deny contains object.union(blame, what_would_do(entry)) if {
	some entry in data.app.deny
	well_formed(entry)
	blame := {"rule": entry.rule, "reason": entry.reason, "hide": object.get(entry, "hide", false) != false}
}

deny contains {"rule": "entry.malformed", "reason": "policy_denied", "hide": false} if {
	some entry in data.app.deny
	not is_string(entry)
	not well_formed(entry)
}

well_formed(entry) if {
	is_object(entry)
	is_string(entry.rule)
	entry.reason in reasons
	every step_up in asked(entry) {
		entry.reason == "step_up_required"
		sound(step_up)
	}
}

# The authentication that would do (RFC 9470 section 3): what a rule says of it, if anything.
asked(entry) := [entry.step_up | "step_up" in object.keys(entry)]

sound(step_up) if {
	is_object(step_up)
	object.keys(step_up) - {"acr_values", "max_age"} == set()
	contexts := object.get(step_up, "acr_values", [])
	is_array(contexts)
	count(contexts) <= 16
	every context in contexts {
		is_string(context)
	}
	age := object.get(step_up, "max_age", 1)
	is_number(age)
	age == floor(age)
	age >= 1
	age <= 31622400
}

what_would_do(entry) := {"step_up": would_do |
	some step_up in asked(entry)
	would_do := {
		"acr_values": object.get(step_up, "acr_values", []),
		"max_age": object.get(step_up, "max_age", 0),
	}
}
