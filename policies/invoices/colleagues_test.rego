package app_test

test_a_colleague_reads_what_is_shared if {
	shared := invoice("bob", {"visibility": "tenant"})
	says(ask("invoice:read", shared, {}), {"invoice.read.colleague"}, set())
	says(ask("invoice:edit", shared, {}), set(), set())
}

test_anything_but_tenant_is_not_shared if {
	every visibility in ["private", "Tenant", "public", null, true] {
		says(ask("invoice:read", invoice("bob", {"visibility": visibility}), {}), set(), {private_entry})
	}
}
