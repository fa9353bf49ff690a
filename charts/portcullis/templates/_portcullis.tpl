{{- /* What the manifests share. Names do not contain that of the release: there is one Portcullis in a cluster. */}}

{{- /* Call with (dict "root" $ "component" "control"). */}}
{{- define "portcullis.labels" -}}
{{ include "portcullis.selector" . }}
app.kubernetes.io/part-of: portcullis
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{- define "portcullis.selector" -}}
app.kubernetes.io/name: portcullis
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "portcullis.image" -}}
{{- with .Values.image -}}
{{- if .digest }}{{ .repository }}@{{ .digest }}
{{- else if .tag }}{{ .repository }}:{{ .tag }}
{{- else }}{{ fail "image: give image.digest (sha256:...), or image.tag to try things out" }}
{{- end }}
{{- end }}
{{- end }}

{{- define "portcullis.audience" -}}
portcullis.dev/{{ .Values.trustDomain }}
{{- end }}

{{- /* As restricted as Pod Security admission asks, and a file system that nobody writes to. */}}
{{- define "portcullis.podSecurity" -}}
runAsNonRoot: true
runAsUser: 64532
runAsGroup: 64532
fsGroup: 64532
seccompProfile: { type: RuntimeDefault }
{{- end }}

{{- define "portcullis.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
runAsUser: 64532
runAsGroup: 64532
capabilities: { drop: [ALL] }
seccompProfile: { type: RuntimeDefault }
{{- end }}

{{- /* Who the replica is, from the downward API. */}}
{{- define "portcullis.env" -}}
- name: POD_NAME
  valueFrom: { fieldRef: { fieldPath: metadata.name } }
- name: POD_NAMESPACE
  valueFrom: { fieldRef: { fieldPath: metadata.namespace } }
- name: POD_UID
  valueFrom: { fieldRef: { fieldPath: metadata.uid } }
- name: POD_IP
  valueFrom: { fieldRef: { fieldPath: status.podIP } }
- name: NODE_NAME
  valueFrom: { fieldRef: { fieldPath: spec.nodeName } }
{{- end }}

{{- /* The pod's own access to the API server: what automounting would give, but written down and with a short life. */}}
{{- define "portcullis.apiAccess" -}}
- name: api-access
  projected:
    defaultMode: 0440
    sources:
      - serviceAccountToken: { path: token, expirationSeconds: 3607 }
      - configMap:
          name: kube-root-ca.crt
          items: [{ key: ca.crt, path: ca.crt }]
      - downwardAPI:
          items:
            - path: namespace
              fieldRef: { fieldPath: metadata.namespace }
{{- end }}

{{- define "portcullis.apiAccessMount" -}}
- { name: api-access, mountPath: /var/run/secrets/kubernetes.io/serviceaccount, readOnly: true }
{{- end }}

{{- /* What the short-lived pods of hooks share. */}}
{{- define "portcullis.jobPod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
terminationGracePeriodSeconds: 5
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  {{- include "portcullis.podSecurity" . | nindent 2 }}
{{- end }}

{{- define "portcullis.jobContainer" -}}
image: {{ include "portcullis.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
env:
  {{- include "portcullis.env" . | nindent 2 }}
resources:
  requests: { cpu: 50m, memory: 96Mi, ephemeral-storage: 16Mi }
  limits: { cpu: "1", memory: 256Mi, ephemeral-storage: 64Mi }
securityContext:
  {{- include "portcullis.containerSecurity" . | nindent 2 }}
terminationMessagePolicy: FallbackToLogsOnError
{{- end }}

{{- /* Bindings that can refuse a pod: without Portcullis they must not be there. templates/admission has them. */}}
{{- define "portcullis.guardBindings" -}}
["portcullis-guard-namespace","portcullis-guard-pod","portcullis-guard-required","portcullis-outside","portcullis-labels","portcullis-exec","portcullis-token"]
{{- end }}
