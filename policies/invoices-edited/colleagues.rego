# The demo's edited policy: nothing is shared any more, whatever an invoice's visibility says.
package app

default shared := false
