# A rule id of far more than 64 KiB for the magic action "app:bomb". Its size depends on the input, so that no compiler can fold it.
package app

allow contains "hostile.calm" if input.action == "app:ok"

allow contains concat("", [input.subject.id | some _ in numbers.range(1, 10000 * count(input.action))]) if {
	input.action == "app:bomb"
}
