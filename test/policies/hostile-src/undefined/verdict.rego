# Its own entrypoint, undefined for the magic action "app:undefined".
package portcullis.entry

verdict := {"effect": "allow", "allow": ["hostile"], "deny": []} if input.action != "app:undefined"
