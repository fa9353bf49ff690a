package portcullis.entry_test

import data.portcullis.entry

malformed := {"rule": "entry.malformed", "reason": "policy_denied", "hide": false}

denied(allow, deny) := {"effect": "deny", "allow": sort(allow), "deny": sort(deny)}

test_silence_is_a_denial if {
	entry.verdict == denied(set(), set())
	entry.verdict == denied(set(), set()) with data.app.allow as set() with data.app.deny as set()
}

test_an_allow_allows if {
	entry.verdict == {"effect": "allow", "allow": ["a", "b"], "deny": []} with data.app.allow as {"a", "b"}
}

test_only_strings_allow if {
	every wrong in [true, 1, null, {"rule": "a"}, ["a"]] {
		entry.verdict == denied(set(), set()) with data.app.allow as {wrong}
	}
}

test_deny_overrides_allow if {
	want := denied({"a"}, {{"rule": "no", "reason": "policy_denied", "hide": false}})
	entry.verdict == want with data.app.allow as {"a"} with data.app.deny as {"no"}
}

test_an_object_may_name_each_reason_of_an_application if {
	every reason in [
		"policy_denied", "not_owner", "role_missing", "limit_exceeded", "insufficient_scope", "rar_mismatch",
		"step_up_required",
	] {
		want := denied(set(), {{"rule": "r", "reason": reason, "hide": false}})
		entry.verdict == want with data.app.deny as {{"rule": "r", "reason": reason}}
	}
}

test_a_step_up_says_what_would_do if {
	said := [
		[{}, {"acr_values": [], "max_age": 0}],
		[{"acr_values": ["gold", "silver"]}, {"acr_values": ["gold", "silver"], "max_age": 0}],
		[{"max_age": 1}, {"acr_values": [], "max_age": 1}],
		[{"acr_values": ["gold"], "max_age": 31622400}, {"acr_values": ["gold"], "max_age": 31622400}],
	]
	every pair in said {
		want := denied(set(), {{"rule": "r", "reason": "step_up_required", "hide": false, "step_up": pair[1]}})
		entry.verdict == want with data.app.deny as {{"rule": "r", "reason": "step_up_required", "step_up": pair[0]}}
	}
}

test_a_step_up_that_is_malformed_still_denies if {
	wrong := [
		null, "gold", ["gold"], {"acr": "gold"}, {"acr_values": "gold"}, {"acr_values": {"gold"}}, {"acr_values": [1]},
		{"acr_values": numbers.range(1, 17)}, {"acr_values": [x | some n in numbers.range(1, 17); x := sprintf("%d", [n])]},
		{"max_age": 0}, {"max_age": 1.5}, {"max_age": "1"}, {"max_age": 31622401}, {"max_age": 1, "more": 1},
	]
	every step_up in wrong {
		entry.verdict == denied(set(), {malformed}) with data.app.deny as {{
			"rule": "r",
			"reason": "step_up_required",
			"step_up": step_up,
		}}
	}
	entry.verdict == denied(set(), {malformed}) with data.app.deny as {{
		"rule": "r",
		"reason": "not_owner",
		"step_up": {"max_age": 1},
	}}
}

test_hide_hides_unless_it_is_false if {
	every hide in [true, "yes", 1, null] {
		want := denied(set(), {{"rule": "r", "reason": "not_owner", "hide": true}})
		entry.verdict == want with data.app.deny as {{"rule": "r", "reason": "not_owner", "hide": hide}}
	}
	shown := denied(set(), {{"rule": "r", "reason": "not_owner", "hide": false}})
	entry.verdict == shown with data.app.deny as {{"rule": "r", "reason": "not_owner", "hide": false}}
}

test_a_malformed_denial_still_denies if {
	wrong := [
		true, false, null, 1, [], {}, {"rule": "r"}, {"reason": "not_owner"}, {"rule": 1, "reason": "not_owner"},
		{"rule": "r", "reason": "tenant_mismatch"}, {"rule": "r", "reason": "made_up"}, {"rule": "r", "reason": null},
	]
	every entry_ in wrong {
		entry.verdict == denied({"a"}, {malformed}) with data.app.allow as {"a"} with data.app.deny as {entry_}
	}
}
