# METADATA
# title: Tenant isolation
# description: A caller reaches resources of its own tenant only. A missing tenant on either side is no tenant.
package portcullis.tenant

default isolated := false

isolated if {
	is_string(input.subject.tenant)
	input.subject.tenant != ""
	input.subject.tenant == input.resource.stored.tenant
}
