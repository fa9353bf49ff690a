package portcullis.step_up_test

import data.portcullis.step_up

test_the_context_is_one_of_a_list if {
	step_up.reached(["silver", "gold"]) with input as {"subject": {"acr": "gold"}}
	every acr in ["Gold", "gold silver", "", null, ["gold"], 1] {
		not step_up.reached(["silver", "gold"]) with input as {"subject": {"acr": acr}}
	}
	not step_up.reached(["gold"]) with input as {"subject": {}}
	not step_up.reached("gold") with input as {"subject": {"acr": "gold"}}
	not step_up.reached([null]) with input as {"subject": {"acr": null}}
}

test_recent_is_within_the_seconds if {
	every at in [700, 701, 999, 1000] {
		step_up.recent(300) with input as {"now": 1000, "subject": {"auth_time": at}}
	}
	every at in [699, 0, 1001, "999", null, [999]] {
		not step_up.recent(300) with input as {"now": 1000, "subject": {"auth_time": at}}
	}
	not step_up.recent(300) with input as {"now": 1000, "subject": {}}
	not step_up.recent("300") with input as {"now": 1000, "subject": {"auth_time": 1000}}
}

test_a_method_is_exact if {
	step_up.used("otp") with input as {"subject": {"amr": ["pwd", "otp"]}}
	every amr in [[], ["OTP"], "otp", {"x": "otp"}, null] {
		not step_up.used("otp") with input as {"subject": {"amr": amr}}
	}
	not step_up.used(null) with input as {"subject": {"amr": [null]}}
	not step_up.used("otp") with input as {"subject": {}}
}
