{{/* The longest name adds 23 characters to the release's, and a Service may have 63. */}}
{{- define "service.fullname" -}}
{{- if not (regexMatch "^[a-z][a-z0-9-]{0,39}$" .Release.Name) }}
  {{- fail (printf "the release name must be at most 40 letters, digits and hyphens, a letter first; got %q" .Release.Name) }}
{{- end }}
{{- .Release.Name }}-{{ .Chart.Name }}
{{- end }}

{{/* The selector of an application's pods. Takes the release and a component. */}}
{{- define "polyphony.selector" -}}
app.kubernetes.io/name: polyphony
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "polyphony.labels" -}}
{{ include "polyphony.selector" . }}
app.kubernetes.io/part-of: polyphony
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "service.selector" -}}
{{ include "polyphony.selector" (dict "Release" .Release "component" .Chart.Name) }}
{{- end }}

{{- define "service.labels" -}}
{{ include "polyphony.labels" (dict "Release" .Release "Chart" .Chart "component" .Chart.Name) }}
{{- end }}

{{- define "service.image" -}}
{{- $image := .Values.image }}
{{- if and .Values.chassis .Values.gpu.count (not $image.repository) (has .Chart.Name (list "gateway" "generation")) }}
  {{- fail (printf "%s.gpu.count: no image of it uses a GPU; language models have one through vLLM (values-vllm.yaml), or name an image of your own by %s.image" .Chart.Name .Chart.Name) }}
{{- end }}
{{- $tag := $image.tag }}
{{- if and (not $tag) .Values.chassis }}
  {{- $tag = .Values.global.image.tag | default .Chart.AppVersion }}
  {{- if .Values.gpu.count }}{{ $tag = printf "%s-gpu" $tag }}{{ end }}
{{- end }}
{{- $name := $image.repository | default (include "polyphony.repository" (dict "global" .Values.global "name" .Chart.Name)) }}
{{- $name }}:{{ $tag }}
{{- end }}

{{- define "polyphony.repository" -}}
{{ with .global.image.registry }}{{ . }}/{{ end }}polyphony-{{ .name }}
{{- end }}

{{- define "polyphony.tools" -}}
{{- $tools := .Values.global.image.tools }}
{{- $tools.repository | default (include "polyphony.repository" (dict "global" .Values.global "name" "tools")) }}:
{{- $tools.tag | default .Values.global.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "service.kind" -}}
{{ if eq .Values.kind "StatefulSet" }}StatefulSet{{ else }}Deployment{{ end }}
{{- end }}

{{- define "service.healthPort" -}}
{{ if and .Values.chassis .Values.global.tls.enabled }}50060{{ else }}{{ get .Values.ports .Values.probe.port }}{{ end }}
{{- end }}

{{- define "polyphony.priority" -}}
{{ .Release.Namespace }}-{{ .Release.Name }}-{{ .class }}
{{- end }}

{{/* What Pod Security `restricted` requires. */}}
{{- define "polyphony.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "polyphony.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}
