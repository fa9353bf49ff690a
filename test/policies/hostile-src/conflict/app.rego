# Two values for one rule, at run time only: the module aborts.
package app

allow contains "hostile.calm" if input.action == "app:ok"

allow contains outcome

outcome := "yes" if input.action == "app:conflict"

outcome := input.subject.id if input.action == "app:conflict"
