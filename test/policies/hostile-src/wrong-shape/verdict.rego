# Its own entrypoint, whose verdict has a wrong shape for each magic action.
package portcullis.entry

allowed := {"effect": "allow", "allow": ["hostile"], "deny": []}

wrong := {
	"app:boolean": {"effect": true, "allow": ["hostile"], "deny": []},
	"app:upper": {"effect": "ALLOW", "allow": ["hostile"], "deny": []},
	"app:extra": {"effect": "allow", "allow": ["hostile"], "deny": [], "override": true},
	"app:missing": {"effect": "allow", "allow": ["hostile"]},
	"app:contradiction": {"effect": "allow", "allow": ["hostile"], "deny": [{"rule": "r", "reason": "not_owner", "hide": false}]},
	"app:groundless": {"effect": "allow", "allow": [], "deny": []},
	"app:numbers": {"effect": "allow", "allow": [1], "deny": []},
	"app:object": {"effect": "allow", "allow": {"0": "hostile"}, "deny": []},
	"app:nullish": {"effect": "allow", "allow": ["hostile"], "deny": null},
	"app:reason": {"effect": "deny", "allow": [], "deny": [{"rule": "r", "reason": "made_up", "hide": false}]},
	"app:entry": {"effect": "deny", "allow": [], "deny": ["r"]},
	"app:true": true,
	"app:string": "allow",
	"app:array": [allowed],
	"app:null": null,
	"app:empty": {},
}

verdict := object.get(wrong, input.action, allowed)
