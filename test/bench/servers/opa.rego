# The same checks and rules for the official server, as its users write them: the token verified by
# io.jwt.decode_verify, tenant isolation, ownership, scopes and the invoices example in one module.
package bench

default decision := {"allow": false, "reasons": ["token"]}

decision := {"allow": allowed, "reasons": reasons} if genuine

default allowed := false

allowed if {
	count(rules) > 0
	count(reasons) == 0
}

verified := io.jwt.decode_verify(input.token, {
	"cert": data.trust.jwks,
	"alg": "RS256",
	"iss": data.trust.issuer,
	"aud": data.trust.audience,
})

header := verified[1]

claims := verified[2]

# What decode_verify leaves open: RFC 9068 types and members, and a bounded lifetime.
genuine if {
	verified[0]
	header.typ == "at+jwt"
	header.kid != ""
	now := time.now_ns() / 1000000000
	is_number(claims.exp)
	is_number(claims.iat)
	claims.iat <= now + 60
	claims.exp - claims.iat <= 3600
	every name in ["sub", "client_id", "jti"] {
		is_string(claims[name])
		claims[name] != ""
	}
	claims.tenant in data.trust.tenants
}

stored := input.resource.stored

scopes := split(claims.scope, " ")

reading if input.action in {"invoice:read", "invoice:list"}

own if {
	stored.type == "invoice"
	stored.owner == claims.sub
}

shared if stored.attributes.visibility == "tenant"

reasons contains "tenant_mismatch" if not stored.tenant == claims.tenant

reasons contains "insufficient_scope" if not input.action in scopes

reasons contains "not_owner" if {
	not reading
	not own
}

reasons contains "not_owner" if {
	input.action != "invoice:list"
	not own
	not shared
}

reasons contains "role_missing" if {
	input.action == "invoice:refund"
	not "billing" in claims.roles
}

reasons contains "limit_exceeded" if {
	input.action == "invoice:refund"
	not within_limit
}

reasons contains "policy_denied" if {
	input.action == "invoice:edit"
	stored.attributes.status == "paid"
}

reasons contains "policy_denied" if {
	input.action == "invoice:delete"
	not stored.attributes.status == "draft"
}

within_limit if {
	amount := input.resource.request.amount
	is_number(amount)
	amount > 0
	amount <= data.settings.refund_limit
	amount <= stored.attributes.amount
}

rules contains "invoice.list" if input.action == "invoice:list"

rules contains "invoice.read.owner" if {
	input.action == "invoice:read"
	own
}

rules contains "invoice.read.colleague" if {
	input.action == "invoice:read"
	shared
}

rules contains "invoice.edit.owner" if {
	input.action == "invoice:edit"
	own
}

rules contains "invoice.delete.draft" if {
	input.action == "invoice:delete"
	own
	stored.attributes.status == "draft"
}

rules contains "invoice.refund" if {
	input.action == "invoice:refund"
	own
	"billing" in claims.roles
	within_limit
}
