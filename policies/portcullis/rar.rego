# METADATA
# title: Rich authorization requests
# description: >-
#   What exactly was consented to (RFC 9396), as the token carries it. An entry grants what its type says and no more: a type
#   that no rule asks about grants nothing, and an entry with a member that is not understood grants nothing, because that
#   member may be a limit. Amounts are text and compared digit by digit; a JSON number may have lost its last cent on the way.
package portcullis.rar

# METADATA
# title: Entries of one type
of_type(type) := entries if {
	is_string(type)
	entries := [entry | some entry in input.authorization_details; entry.type == type]
}

# METADATA
# title: One entry of this type covers all that is wanted
# description: >-
#   wanted has action, account, amount and currency, and location where entries name locations. Entries are of the form
#   {type, actions, account, limit: {amount, currency}} with locations, identifier and datatypes where they matter.
permits(type, wanted) if {
	some entry in of_type(type)
	understood(entry)
	lists(entry.actions, wanted.action)
	located(entry, wanted)
	is_string(entry.account)
	entry.account == wanted.account
	is_string(entry.limit.currency)
	entry.limit.currency == wanted.currency
	within(wanted.amount, entry.limit.amount)
}

# METADATA
# title: No member that might be a limit is overlooked
understood(entry) if {
	object.keys(entry) - {"type", "actions", "account", "limit", "locations"} == set()
	object.keys(entry.limit) == {"amount", "currency"}
}

# METADATA
# title: A list of texts has this one
lists(list, one) if {
	is_array(list)
	is_string(one)
	one in list
}

# METADATA
# title: An amount of money is positive and at most the limit
# description: 'Both are decimal text such as "500.00": at most 12 digits before the point and 4 after it, no sign, no exponent.'
within(amount, limit) if {
	normal(amount) != "0000000000000000"
	normal(amount) <= normal(limit)
}

# METADATA
# title: The same for amounts in whole minor units, such as cents
within_minor_units(amount, limit) if {
	whole(amount)
	whole(limit)
	amount > 0
	amount <= limit
}

located(entry, _) if not "locations" in object.keys(entry)

located(entry, wanted) if lists(entry.locations, wanted.location)

whole(value) if {
	is_number(value)
	floor(value) == value
	value <= 9007199254740991
}

# Sixteen digits, so that comparing the text is comparing the amount.
normal(amount) := text if {
	is_string(amount)
	[units, fraction] := parted(split(amount, "."))
	digits(units)
	no_leading_zero(units)
	count(units) <= 12
	count(fraction) <= 4
	text := concat("", [substring("000000000000", count(units), -1), units, fraction, substring("0000", count(fraction), -1)])
}

parted([units]) := [units, ""]

parted([units, fraction]) := [units, fraction] if digits(fraction)

digits(text) if {
	text != ""
	trim(text, "0123456789") == ""
}

no_leading_zero("0")

no_leading_zero(units) if not startswith(units, "0")
