{{- /*
One of the two programs of the operator with what every Deployment of ours has. Call with
(dict "root" $ "component" "control" "values" .Values.control "args" (list ...) "ports" (dict "feed" 8443 ...) "tmp" "256Mi").
*/}}
{{- define "portcullis.program" -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: portcullis-{{ .component }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "portcullis.labels" . | nindent 4 }}
spec:
  replicas: {{ .values.replicas }}
  revisionHistoryLimit: 3
  strategy:
    type: RollingUpdate
    # The old replica goes when the new one serves.
    rollingUpdate: { maxUnavailable: 0, maxSurge: 1 }
  selector:
    matchLabels:
      {{- include "portcullis.selector" . | nindent 6 }}
  template:
    metadata:
      labels:
        {{- include "portcullis.labels" . | nindent 8 }}
        # The injector must be able to start without itself.
        portcullis.dev/inject: disabled
    spec:
      serviceAccountName: portcullis-{{ .component }}
      # Both tokens are projected below, by name.
      automountServiceAccountToken: false
      enableServiceLinks: false
      terminationGracePeriodSeconds: 30
      {{- with .root.Values.priorityClassName }}
      priorityClassName: {{ . }}
      {{- end }}
      {{- with .root.Values.imagePullSecrets }}
      imagePullSecrets:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with .root.Values.nodeSelector }}
      nodeSelector:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with .root.Values.tolerations }}
      tolerations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      topologySpreadConstraints:
        {{- range $key := list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
        - topologyKey: {{ $key }}
          maxSkew: 1
          # Two replicas on one node are better than one.
          whenUnsatisfiable: ScheduleAnyway
          labelSelector:
            matchLabels:
              {{- include "portcullis.selector" $ | nindent 14 }}
          matchLabelKeys: [pod-template-hash]
        {{- end }}
      securityContext:
        {{- include "portcullis.podSecurity" . | nindent 8 }}
      containers:
        - name: {{ .component }}
          image: {{ include "portcullis.image" .root }}
          imagePullPolicy: {{ .root.Values.image.pullPolicy }}
          args:
            {{- range .args }}
            - {{ . | quote }}
            {{- end }}
          env:
            {{- include "portcullis.env" . | nindent 12 }}
          ports:
            {{- range $name, $port := .ports }}
            - { name: {{ $name }}, containerPort: {{ $port }}, protocol: TCP }
            {{- end }}
          readinessProbe:
            httpGet: { path: /readyz, port: admin }
            periodSeconds: 5
            timeoutSeconds: 2
            failureThreshold: 2
          livenessProbe:
            httpGet: { path: /livez, port: admin }
            initialDelaySeconds: 10
            periodSeconds: 10
            timeoutSeconds: 3
            failureThreshold: 6
          resources:
            {{- toYaml .values.resources | nindent 12 }}
          securityContext:
            {{- include "portcullis.containerSecurity" . | nindent 12 }}
          terminationMessagePolicy: FallbackToLogsOnError
          volumeMounts:
            {{- include "portcullis.apiAccessMount" . | nindent 12 }}
            - { name: portcullis-token, mountPath: /var/run/secrets/portcullis, readOnly: true }
            - { name: tmp, mountPath: /tmp }
            {{- range $name, $_ := .secrets }}
            - { name: {{ $name }}, mountPath: /var/run/secrets/{{ $name }}, readOnly: true }
            {{- end }}
      volumes:
        {{- include "portcullis.apiAccess" . | nindent 8 }}
        # Shown to the issuer, and to nobody else: it is good for this audience only.
        - name: portcullis-token
          projected:
            defaultMode: 0440
            sources:
              - serviceAccountToken:
                  audience: {{ include "portcullis.audience" .root }}
                  expirationSeconds: 600
                  path: token
        {{- range $name, $secret := .secrets }}
        - name: {{ $name }}
          secret: { secretName: {{ $secret }}, defaultMode: 0440 }
        {{- end }}
        - name: tmp
          emptyDir: { sizeLimit: {{ .tmp }} }
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: portcullis-{{ .component }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "portcullis.labels" . | nindent 4 }}
spec:
  maxUnavailable: 1
  # A replica that never became ready must not keep a node from being drained.
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      {{- include "portcullis.selector" . | nindent 6 }}
---
apiVersion: v1
kind: ServiceAccount
metadata:
  name: portcullis-{{ .component }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "portcullis.labels" . | nindent 4 }}
automountServiceAccountToken: false
---
apiVersion: v1
kind: Service
metadata:
  name: portcullis-{{ .component }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "portcullis.labels" . | nindent 4 }}
spec:
  type: ClusterIP
  selector:
    {{- include "portcullis.selector" . | nindent 4 }}
  ports:
    {{- range $name, $port := .ports }}
    - { name: {{ $name }}, port: {{ $port }}, targetPort: {{ $name }}, protocol: TCP }
    {{- end }}
{{- end }}
