# Calls builtins that only a host could offer. Ours offers none, so the module must be refused when it is loaded.
package app

allow contains "hostile.calm" if input.action == "app:ok"

allow contains sprintf("hostile.%d", [time.now_ns()]) if input.action == "app:host-builtin"
