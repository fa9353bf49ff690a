{{- /*
helm test: asks for an allow and a deny, as an application would. Everything is in a namespace of its own that exists meanwhile:
"prepare" makes a key pair in memory, publishes its public half as a TokenIssuer and leaves two short-lived tokens; "ask" runs with an
injected sidecar and asks about both. No key and no token is part of the chart. After a failure the namespace stays, to look into.
*/}}
{{- define "portcullis.testNamespace" -}}portcullis-helm-test{{- end }}

{{- define "portcullis.testHook" -}}
helm.sh/hook: test
helm.sh/hook-weight: {{ .weight | quote }}
helm.sh/hook-delete-policy: {{ .delete | default "before-hook-creation" }}
{{- end }}

{{- define "portcullis.testLabels" -}}
{{- include "portcullis.labels" (dict "root" . "component" "test") }}
{{- end }}
