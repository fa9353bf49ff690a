# METADATA
# title: Ownership
# description: Only the owner writes. Everything that is not known to be a read is a write.
package portcullis.ownership

default kept := false

kept if reading

kept if owned

# The verb is the text after the last ":". An action without one has no verb, so it is a write.
reading if endswith(input.action, ":read")

reading if endswith(input.action, ":list")

# Reads the stored owner, never what the caller sent.
owned if {
	is_string(input.subject.id)
	input.subject.id != ""
	input.subject.id == input.resource.stored.owner
}
