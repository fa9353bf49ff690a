package app_test

test_nothing_is_shared if {
	every visibility in ["tenant", "private", null] {
		says(ask("invoice:read", invoice("bob", {"visibility": visibility}), {}), set(), {private_entry})
	}
}
