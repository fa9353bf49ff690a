# Prints from inside a decision, which would put the caller's token into a log. Compiled with its print statement, the
# module wants the builtin internal.print from its host and must be refused when it is loaded.
package app

allow contains "hostile.print" if {
	input.action == "app:print"
	print("token:", input.token)
}

allow contains "hostile.calm" if input.action == "app:ok"
