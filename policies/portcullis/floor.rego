# METADATA
# title: The floor
# description: >-
#   Tenant isolation, ownership of writes, scope present. Evaluated for every decision, whatever the application says:
#   the answer of the product is floor AND application.
package portcullis.floor

import data.portcullis.ownership
import data.portcullis.scopes
import data.portcullis.tenant

default effect := "deny"

# Sorted, because a set compiled to WebAssembly comes out in the order of its hashes.
verdict := {"effect": effect, "allow": sort(allow), "deny": sort(deny)}

effect := "allow" if {
	count(allow) > 0
	count(deny) == 0
}

# Granted by what holds, never by the absence of a reason to deny.
allow contains "floor" if {
	tenant.isolated
	ownership.kept
	scopes.granted
}

# The existence of another tenant's resource is nobody's business: hidden.
deny contains {"rule": "floor.tenant", "reason": "tenant_mismatch", "hide": true} if not tenant.isolated

deny contains {"rule": "floor.owner", "reason": "not_owner", "hide": false} if not ownership.kept

deny contains {"rule": "floor.scope", "reason": "insufficient_scope", "hide": false} if not scopes.granted
