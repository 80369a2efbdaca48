{{/* The pod of a Deployment or a StatefulSet. */}}
{{- define "service.pod" -}}
{{- $global := .Values.global }}
{{- $name := .Chart.Name }}
{{- $pulls := and .Values.chassis (has "weights" .Values.needs) }}
metadata:
  labels:
    {{- include "service.selector" . | nindent 4 }}
    app.kubernetes.io/part-of: polyphony
  annotations:
    kubectl.kubernetes.io/default-container: {{ $name }}
    checksum/settings: {{ include "service.settings" . | sha256sum }}
    {{- with .Values.podAnnotations }}{{ toYaml . | nindent 4 }}{{ end }}
spec:
  serviceAccountName: {{ include "service.fullname" . }}
  automountServiceAccountToken: false
  enableServiceLinks: false  # a Service's POLYPHONY_GATEWAY_HTTP_PORT=tcp://… would be read as a setting
  shareProcessNamespace: true  # the first process of a namespace ignores SIGTERM until it has a handler: while it warms up
  terminationGracePeriodSeconds: {{ add .Values.drainTimeoutSeconds 20 }}
  {{- if or .Values.priorityClassName $global.priorityClasses }}
  priorityClassName: {{ .Values.priorityClassName | default (include "polyphony.priority" (dict "Release" .Release "class" "serving")) }}
  {{- end }}
  {{- with .Values.runtimeClassName }}
  runtimeClassName: {{ . | quote }}
  {{- end }}
  {{- with $global.image.pullSecrets }}
  imagePullSecrets: {{- range . }}{{ printf "- name: %s" . | nindent 4 }}{{ end }}
  {{- end }}
  {{- with .Values.nodeSelector }}
  nodeSelector: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.affinity }}
  affinity: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if or .Values.tolerations .Values.gpu.count }}
  tolerations:
    {{- if .Values.gpu.count }}
    - {key: nvidia.com/gpu, operator: Exists, effect: NoSchedule}
    {{- end }}
    {{- with .Values.tolerations }}{{ toYaml . | nindent 4 }}{{ end }}
  {{- end }}
  topologySpreadConstraints:
    {{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
    - topologyKey: {{ . }}
      maxSkew: 1
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels: {{- include "service.selector" $ | nindent 10 }}
    {{- end }}
  securityContext: {{- merge (deepCopy .Values.securityContext) (fromYaml (include "polyphony.podSecurity" .)) | toYaml | nindent 4 }}
  {{- if or $pulls .Values.sync }}
  initContainers:
    {{- if .Values.sync }}
    - name: source
      image: {{ include "service.image" . }}
      imagePullPolicy: {{ $global.image.pullPolicy }}
      command: [cp, --recursive, --preserve=timestamps, /srv/polyphony/., /source]
      resources: {requests: {cpu: 10m, memory: 32Mi}, limits: {cpu: "1", memory: 128Mi}}
      terminationMessagePolicy: FallbackToLogsOnError
      securityContext: {{- include "polyphony.containerSecurity" . | nindent 8 }}
      volumeMounts:
        - {name: source, mountPath: /source}
    {{- end }}
    {{- if $pulls }}
    - name: weights
      image: {{ include "polyphony.tools" . }}
      imagePullPolicy: {{ $global.image.pullPolicy }}
      args: [models, pull, --service, {{ $name }}]
      {{- include "service.weightsEnvironment" . | nindent 6 }}
      resources:
        requests: {cpu: 100m, memory: 256Mi}
        limits: {cpu: "1", memory: 1Gi}
      terminationMessagePolicy: FallbackToLogsOnError
      securityContext: {{- include "polyphony.containerSecurity" . | nindent 8 }}
      volumeMounts:
        - {name: tmp, mountPath: /tmp}
        - {name: home, mountPath: /var/lib/polyphony}
        - {name: weights, mountPath: {{ .Values.weights.path }}}
        {{- include "service.catalogueMounts" . | nindent 8 }}
    {{- end }}
  {{- end }}
  containers:
    - name: {{ $name }}
      image: {{ include "service.image" . }}
      imagePullPolicy: {{ $global.image.pullPolicy }}
      {{- with .Values.command }}
      command: {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with .Values.args }}
      args: {{- tpl (toYaml .) $ | nindent 8 }}
      {{- end }}
      {{- include "service.environment" . | nindent 6 }}
      ports:
        {{- range $port, $number := .Values.ports }}
        - {name: {{ $port }}, containerPort: {{ $number }}}
        {{- end }}
        {{- if and .Values.chassis $global.tls.enabled }}
        - {name: health, containerPort: {{ include "service.healthPort" . }}}
        {{- end }}
      {{- include "service.probes" . | trim | nindent 6 }}
      lifecycle:
        preStop: {exec: {command: [sleep, "5"]}}  # until all nodes have removed the endpoint
      resources: {{- include "service.resources" . | nindent 8 }}
      terminationMessagePolicy: FallbackToLogsOnError
      securityContext: {{- include "polyphony.containerSecurity" . | nindent 8 }}
      volumeMounts:
        - {name: tmp, mountPath: /tmp}
        {{- if .Values.chassis }}
        - {name: home, mountPath: /var/lib/polyphony}
        {{- include "service.catalogueMounts" . | nindent 8 }}
        {{- end }}
        {{- if .Values.sync }}
        - {name: source, mountPath: /srv/polyphony}
        {{- end }}
        {{- if has "weights" .Values.needs }}
        - {name: weights, mountPath: {{ .Values.weights.path }}}
        {{- end }}
        {{- if include "service.sharedObjects" . }}
        - {name: objects, mountPath: /var/lib/polyphony/data/objects}
        {{- end }}
        {{- range $file, $row := .Values.secretFiles }}
        - {name: {{ $file }}, mountPath: {{ $row.path }}, readOnly: true}
        {{- end }}
        {{- if and .Values.chassis $global.tls.enabled }}
        - {name: tls, mountPath: /etc/polyphony/tls, readOnly: true}
        {{- end }}
        {{- if .Values.sharedMemory }}
        - {name: shared-memory, mountPath: /dev/shm}
        {{- end }}
  volumes:
    - {name: tmp, emptyDir: {sizeLimit: 4Gi}}
    {{- if .Values.chassis }}
    - {name: home, emptyDir: {sizeLimit: 1Gi}}
    {{- range $rows, $configMap := $global.catalogue }}
    {{- if $configMap }}
    - {name: catalogue-{{ $rows }}, configMap: {name: {{ $configMap }}}}
    {{- end }}
    {{- end }}
    {{- end }}
    {{- if .Values.sync }}
    - {name: source, emptyDir: {sizeLimit: 64Mi}}
    {{- end }}
    {{- if and (has "weights" .Values.needs) (or .Values.weights.existingClaim (eq .Values.kind "Deployment")) }}
    {{- with .Values.weights.existingClaim }}
    - {name: weights, persistentVolumeClaim: {claimName: {{ . | quote }}}}
    {{- else }}
    - {name: weights, emptyDir: {sizeLimit: {{ .Values.weights.size }}}}
    {{- end }}
    {{- end }}
    {{- if include "service.sharedObjects" . }}
    - {name: objects, persistentVolumeClaim: {claimName: {{ .Release.Name }}-objects}}
    {{- end }}
    {{- range $file, $row := .Values.secretFiles }}
    - name: {{ $file }}
      secret:
        secretName: {{ tpl $row.secret $ }}
        defaultMode: 0440
        items: {{- range $row.keys }}{{ printf "- {key: %s, path: %s}" . . | nindent 10 }}{{ end }}
    {{- end }}
    {{- if and .Values.chassis $global.tls.enabled }}
    - {name: tls, secret: {secretName: {{ include "service.fullname" . }}-tls, defaultMode: 0440}}
    {{- end }}
    {{- with .Values.sharedMemory }}
    - {name: shared-memory, emptyDir: {medium: Memory, sizeLimit: {{ . }}}}
    {{- end }}
{{- end }}

{{/* Not empty if media are on a claim that all pods share. */}}
{{- define "service.sharedObjects" -}}
{{ if and (has "objects" .Values.needs) (not .Values.global.objects.url) }}yes{{ end }}
{{- end }}

{{/* Environment variables of the process, those from secrets included. */}}
{{- define "service.environment" -}}
{{- $global := .Values.global }}
{{- $secrets := deepCopy .Values.secretEnv }}
{{- if has "database" .Values.needs }}
  {{- $database := dict "secret" $global.database.secret "key" $global.database.key }}
  {{- if $global.database.cloudnativepg.enabled }}{{ $database = dict "secret" (printf "%s-postgres-app" .Release.Name) "key" "uri" }}{{ end }}
  {{- if $database.secret }}
    {{- $_ := set $secrets (printf "POLYPHONY_%s_DATABASE_URL" (upper .Chart.Name)) $database }}
  {{- end }}
{{- end -}}
envFrom:
  - configMapRef: {name: {{ include "service.fullname" . }}}
  {{- if and (include "service.s3Objects" .) $global.s3.secret }}
  - secretRef: {name: {{ $global.s3.secret | quote }}}
  {{- end }}
{{- with $secrets }}
env:
  {{- range $name, $row := . }}
  - name: {{ $name }}
    valueFrom: {secretKeyRef: {name: {{ tpl $row.secret $ }}, key: {{ $row.key }}}}
  {{- end }}
{{- end }}
{{- end }}

{{/* Environment variables of the init container, those from secrets included. */}}
{{- define "service.weightsEnvironment" -}}
{{- $global := .Values.global -}}
envFrom:
  - configMapRef: {name: {{ include "service.fullname" . }}}
  {{- with $global.weights.secret | default (ternary $global.s3.secret "" (ne "" (include "service.s3Weights" .))) }}
  - secretRef: {name: {{ . | quote }}}
  {{- end }}
{{- with $global.weights.hubTokenSecret }}
env:
  - {name: HF_TOKEN, valueFrom: {secretKeyRef: {name: {{ . | quote }}, key: token}}}
{{- end }}
{{- end }}

{{/* Mounts of the custom catalogue. */}}
{{- define "service.catalogueMounts" -}}
{{- range $rows, $configMap := .Values.global.catalogue }}
{{- if $configMap }}
- {name: catalogue-{{ $rows }}, mountPath: /etc/polyphony/catalogue/{{ $rows }}, readOnly: true}
{{- end }}
{{- end }}
{{- end }}

{{- define "service.resources" -}}
{{- $resources := deepCopy .Values.resources }}
{{- if .Values.gpu.count }}
  {{- $_ := set $resources "limits" (merge (dict .Values.gpu.resource .Values.gpu.count) (default dict $resources.limits)) }}
{{- end }}
{{- toYaml $resources }}
{{- end }}
