# Builds an array far beyond 64 MiB for the magic action "app:memory".
package app

allow contains "hostile.calm" if input.action == "app:ok"

allow contains "hostile.memory" if {
	input.action == "app:memory"
	count([[n, input.subject.id] | some n in numbers.range(1, 200000 * count(input.action))]) > 0
}
