# Allows everyone everything, for several reasons at once. The floor has to hold anyway.
package app

allow contains "hostile.everything"

allow contains input.action
