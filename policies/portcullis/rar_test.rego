package portcullis.rar_test

import data.portcullis.rar

entry := {"type": "payment", "actions": ["create"], "account": "12345", "limit": {"amount": "500.00", "currency": "USD"}}

wanted := {"action": "create", "account": "12345", "amount": "500.00", "currency": "USD"}

permitted(entries, want) if rar.permits("payment", want) with input as {"authorization_details": entries}

changed(base, change) := object.union(base, change)

test_a_limit_is_kept_to_the_cent if {
	every amount in ["0.01", "1", "499.99", "500", "500.0", "500.00", "500.0000"] {
		permitted([entry], changed(wanted, {"amount": amount}))
	}
	every amount in ["500.01", "500.0001", "501", "1000", "5000", "999999999999.9999"] {
		not permitted([entry], changed(wanted, {"amount": amount}))
	}
}

test_what_is_no_amount_is_not_within if {
	every amount in [
		500, 1, 499.99, "0", "0.00", "-1", "+1", "", ".", "1.", ".5", "1e2", "0x1", " 1", "1 ", "1,00", "01", "00.01",
		"1.2.3", "1.00000", "1234567890123", "Infinity", "NaN", "٣", null, true, ["1"], {"amount": "1"},
	] {
		not permitted([entry], changed(wanted, {"amount": amount}))
		not rar.within("1", amount)
	}
}

test_another_account_currency_or_action_is_not_covered if {
	every change in [
		{"account": "12346"}, {"account": 12345}, {"account": ""}, {"currency": "usd"}, {"currency": "EUR"},
		{"action": "Create"}, {"action": "cancel"}, {"action": ["create"]},
	] {
		not permitted([entry], changed(wanted, change))
	}
	every member in ["action", "account", "amount", "currency"] {
		not permitted([entry], object.remove(wanted, [member]))
	}
}

test_a_type_that_nobody_asks_about_grants_nothing if {
	every type in ["Payment", "payment ", "payments", "loan"] {
		not permitted([changed(entry, {"type": type})], wanted)
	}
	not permitted([], wanted)
	not rar.permits("payment", wanted) with input as {}
	not rar.permits(null, wanted) with input as {"authorization_details": [changed(entry, {"type": null})]}
}

test_a_member_that_is_not_understood_grants_nothing if {
	every more in [{"valid_until": 1}, {"purpose": "rent"}, {"limit": {"amount": "500.00", "currency": "USD", "per": "day"}}] {
		not permitted([changed(entry, more)], wanted)
	}
	every member in ["actions", "account", "limit"] {
		not permitted([object.remove(entry, [member])], wanted)
	}
	not permitted([changed(entry, {"account": 12345})], changed(wanted, {"account": 12345}))
	not permitted([changed(entry, {"limit": {"amount": "500.00", "currency": 1}})], changed(wanted, {"currency": 1}))
}

test_locations_bind_where_they_are_named if {
	here := changed(entry, {"locations": ["https://api.example"]})
	permitted([here], changed(wanted, {"location": "https://api.example"}))
	not permitted([here], changed(wanted, {"location": "https://other.example"}))
	not permitted([here], wanted)
	not permitted([changed(entry, {"locations": "https://api.example"})], changed(wanted, {"location": "https://api.example"}))
	permitted([entry], changed(wanted, {"location": "https://api.example"}))
}

test_one_entry_must_cover_it_all if {
	small := changed(entry, {"limit": {"amount": "1.00", "currency": "USD"}})
	elsewhere := changed(entry, {"account": "999"})
	not permitted([small, elsewhere], wanted)
	permitted([small, elsewhere, entry], wanted)
}

test_minor_units_are_whole if {
	rar.within_minor_units(50000, 50000)
	rar.within_minor_units(1, 50000)
	not rar.within_minor_units(50001, 50000)
	every amount in [0, -1, 0.5, 1e300, "1", null, true] {
		not rar.within_minor_units(amount, 50000)
		not rar.within_minor_units(1, amount)
	}
}
