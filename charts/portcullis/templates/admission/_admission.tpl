{{- /* What the manifests of this folder share. Call with the root context. */}}

{{- define "portcullis.admission.labels" -}}
app.kubernetes.io/name: portcullis
app.kubernetes.io/part-of: portcullis
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- /* Name of the one SidecarProfile that is injected. */}}
{{- define "portcullis.admission.profile" -}}
{{ (.Values.injection).profile | default "default" }}
{{- end }}

{{- /*
The namespaces that are never touched: kube-system and that of Portcullis. The label is set by the API server and cannot be
changed, so no other namespace can claim to be one of them. That is safe because nothing is gained there: whoever may create
pods in kube-system or in the release namespace can already read the tokens of the control plane or of the operator, and the
issuer gives a pod identities of its own namespace only, so a token minted there never speaks for a workload elsewhere.
*/}}
{{- define "portcullis.admission.outsideSystem" -}}
- key: kubernetes.io/metadata.name
  operator: NotIn
  values: [kube-system, {{ .Release.Namespace }}]
{{- end }}

{{- define "portcullis.admission.podRules" -}}
- apiGroups: [""]
  apiVersions: [v1]
  resources: [pods]
  operations: [CREATE, UPDATE]
  scope: Namespaced
- apiGroups: [""]
  apiVersions: [v1]
  resources: [pods/ephemeralcontainers]
  operations: [UPDATE]
  scope: Namespaced
{{- end }}

{{- /*
A mirror pod is the API server's picture of a static pod of a node: made by the kubelet alone, never run from the API, and
without service account tokens.
*/}}
{{- define "portcullis.admission.noMirror" -}}
- name: no-mirror-pod
  expression: >-
    !('system:nodes' in request.userInfo.groups
    && 'kubernetes.io/config.mirror' in object.metadata.?annotations.orValue({}))
{{- end }}
